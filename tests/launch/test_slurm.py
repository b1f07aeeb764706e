"""The launcher of SLURM: a real one, of two nodes on this machine, started by the test."""

import contextlib
import getpass
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import at_work, interrupted, require_equal, require_once, write_experiment

import rate
from rate.launch import slurm
from rate.launch.experiment import plan_experiment
from rate.launch.launcher import launch
from rate.launch.plan import Job, write_plan
from rate.system.compute import Compute

DAEMONS = ("munged", "slurmctld", "slurmd")
CONFIGURATION = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
MessageTimeout=60
SchedulerParameters=requeue_setup_env_fail,batch_sched_delay=1,sched_interval=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=low Nodes=n1,n2 Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=high Nodes=n1,n2 State=UP PriorityTier=10 PreemptMode=OFF
"""


def found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """Two nodes on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, []
        for name in ("munge", "state", "spool-n1", "spool-n2"):
            (folder / name).mkdir(parents=True)
        (folder / "munge" / "key").write_bytes(secrets.token_bytes(1024))
        (folder / "munge" / "key").chmod(0o600)
        names = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser()}
        text = CONFIGURATION.format(folder=folder, ports=free_ports(3), **names)
        (folder / "slurm.conf").write_text(text)

    def start(self) -> None:
        munge, conf = self.folder / "munge", str(self.folder / "slurm.conf")
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
        files["seed-file"] = "seed"
        words = [f"--{option}={munge / name}" for option, name in files.items()]
        self.daemon("munged", "--foreground", "--force", *words)
        self.daemon("slurmctld", "-D", "-f", conf)
        for node in ("n1", "n2"):
            self.daemon("slurmd", "-D", "-N", node, "-f", conf)

    def daemon(self, name: str, *words: str) -> None:
        log = open(self.folder / f"{name}-{len(self.processes)}.log", "w")  # noqa: SIM115
        self.processes.append(
            subprocess.Popen([found(name), *words], stdout=log, stderr=log, cwd=self.folder)
        )

    def ready(self) -> bool:
        done = subprocess.run(
            ["sinfo", "-h", "-p", "low", "-t", "idle", "-o", "%D"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() == "2"

    def logs(self) -> str:
        texts = [path.read_text()[-400:] for path in self.folder.glob("*.log")]
        return " | ".join(" ".join(text.split()) for text in texts)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("submitit")
    missing = [name for name in (*DAEMONS, "sbatch", "srun") if not found(name)]
    if missing:
        pytest.skip(f"there is no SLURM here: {missing} (on Debian: apt install slurm-wlm munge)")
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(cluster.folder / "slurm.conf")
    try:
        cluster.start()
        until = time.monotonic() + 60
        while not cluster.ready():
            if time.monotonic() > until:
                pytest.skip(f"SLURM does not start here: {cluster.logs()}")
            time.sleep(0.5)
        yield cluster
    finally:
        subprocess.run(["scancel", "--user", getpass.getuser()], check=False)
        cluster.stop()
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    return tmp_path


def states() -> dict[str, str]:
    """States of the jobs in the queue."""
    done = subprocess.run(
        ["squeue", "-h", "-r", "-o", "%i %T"], capture_output=True, text=True, check=True
    )
    return dict(line.split() for line in done.stdout.splitlines())


def wait_until(condition, seconds=600.0):
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, states()
        time.sleep(0.2)
    return value


def done(plan) -> set[str]:
    return {path.name.removesuffix(".done") for path in plan.claims.glob("*.done")}


@pytest.mark.slow
def test_24_runs_on_two_nodes_with_random_kills_give_the_rows_of_a_serial_run(cluster, here):
    seed = random.SystemRandom().randrange(2**32)
    moments, kills, nodes = random.Random(seed), 0, set()
    name = write_experiment(here, seeds=12, updates=40)
    plan = plan_experiment(name, output="out")
    started = launch(plan.path, slurm.Config(minutes=60, tasks=2), threads=1, trust=True)
    assert "2 tasks of 1 jobs side by side" in started
    while len(done(plan)) < len(plan.jobs):
        time.sleep(moments.uniform(0.0, 0.5))
        assert states() or len(done(plan)) == len(plan.jobs)
        running = at_work(plan) if kills < 20 else []
        if running:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(moments.choice(running), signal.SIGKILL)
                kills += 1
    wait_until(lambda: not states())
    for path in plan.claims.glob("*.claim"):
        nodes.add(json.loads(path.read_text())["worker"].split()[-1])
    assert nodes == {"n1", "n2"}
    assert 5 <= interrupted(plan) <= kills, seed
    sys.stderr.write(f"{interrupted(plan)} jobs were killed\n")
    require_once(plan)
    require_equal(Path("out"), rate.reproduce(name, "serial", threads=1))


@pytest.mark.slow
def test_a_preempted_task_is_queued_again_and_its_run_goes_on(cluster, here):
    name = write_experiment(here, seeds=1, updates=600)
    plan = plan_experiment(name, output="out")
    launch(plan.path, slurm.Config(partition="low", minutes=60), threads=1, trust=True)
    # A policy is being trained, and has a checkpoint.
    wait_until(lambda: list(Path("out/runs").glob("*/training.safetensors")))
    words = ["sbatch", "--partition=high", "--nodes=2", "--output=high.txt", "--wrap", "sleep 5"]
    subprocess.run(words, check=True)
    wait_until(lambda: Path("high.txt").exists())  # every node was taken from the plan
    wait_until(lambda: len(done(plan)) == len(plan.jobs))
    wait_until(lambda: not states())
    require_once(plan)
    stopped = [path for path in plan.claims.glob("train-*.claim") if ".0." not in path.name]
    assert stopped  # a second attempt went on
    require_equal(Path("out"), rate.reproduce(name, "serial", threads=1))


@pytest.mark.slow
def test_a_task_whose_time_is_up_saves_and_is_queued_again(cluster, here):
    """submitit asks for it by a signal, here sent by hand: the shortest time limit is minutes."""
    name = write_experiment(here, seeds=1, updates=600)
    plan = plan_experiment(name, output="out")
    launch(plan.path, slurm.Config(minutes=60, tasks=1), threads=1, trust=True)
    wait_until(lambda: list(Path("out/runs").glob("*/training.safetensors")))
    [number] = states()
    subprocess.run(["scancel", "--signal=USR2", number], check=True)
    wait_until(lambda: list(plan.claims.glob("*.ended")))
    wait_until(lambda: len(done(plan)) == len(plan.jobs))
    require_once(plan)
    [ended] = plan.claims.glob("*.ended")
    assert json.loads(ended.read_text())["outcome"] == "stopped"
    require_equal(Path("out"), rate.reproduce(name, "serial", threads=1))


def test_what_slurm_needs_is_a_sentence(tmp_path, monkeypatch):
    plan = write_plan(tmp_path / "plan.jsonl", [Job("a", "collect", {"output": "data"})])
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    with pytest.raises(ValueError, match="there is no sbatch"):
        launch(plan.path, slurm.Config())
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImportError, match=r"needs submitit: pip install .*slurm"):
        launch(plan.path, slurm.Config())


def test_the_submission_asks_for_what_the_options_say(tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(shutil, "which", lambda name, *_, **__: f"/usr/bin/{name}")
    plan = write_plan(tmp_path / "plan.jsonl", [Job("a", "collect", {"output": "data"})])
    config = slurm.Config(
        partition="gpu", minutes=30, memory_gb=8, grace=60, options=("account=abc",)
    )
    executor = config._executor(plan, 4, Compute("cuda", threads=2))
    assert isinstance(executor, submitit.SlurmExecutor)
    text = executor._make_submission_file_text("true", "x")
    for line in (
        "--partition=gpu",
        "--time=30",
        "--mem=8GB",
        "--cpus-per-task=8",
        "--gpus-per-node=1",
        "--account=abc",
        "--requeue",
        "--signal=USR2@60",
    ):
        assert f"#SBATCH {line}\n" in text
    with pytest.raises(ValueError, match="must be KEY=VALUE, but 'qos' was given"):
        slurm.Config(options=("qos",))._executor(plan, 1, Compute())
    assert slurm._words(plan, 4, Compute("cuda", threads=2), True) == (
        "work",
        str(plan.path),
        *("--jobs", "4", "--accelerator", "cuda", "--threads", "2", "--trust"),
    )


def test_a_task_starts_its_worker_again_when_that_dies(tmp_path, monkeypatch):
    """A worker that is killed is replaced; one that has failed jobs ends the task."""
    codes = iter([-signal.SIGKILL, 128 + signal.SIGTERM, 0])
    waited = []

    class Process:
        pid = 1

        def __init__(self, words, preexec_fn):
            assert words[1:] == ["-P", "-m", "rate", "work", "x"]

        def wait(self):
            return next(codes)

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(time, "sleep", waited.append)
    assert slurm.Task(["work", "x"])() == "done"
    assert waited == [slurm.PATIENCE]
    codes = iter([2])
    with pytest.raises(RuntimeError, match="it ended with 2"):
        slurm.Task(["work", "x"])()


def test_the_signal_of_submitit_does_not_end_a_worker():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('alive')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=slurm._leave_to_submitit
    )
    assert done.stdout == "alive\n"
