import os
import signal
import subprocess
import sys
import time

import pytest

from rate.launch import claims as module
from rate.launch.claims import MOST_CRASHES, Claims

CHILD = """
import os, sys, time
from pathlib import Path
from rate.launch.claims import Claims
claims = Claims(Path(sys.argv[1]), float(sys.argv[2]))
claim = claims.claim("job", claims.state())
print("claimed" if claim else "none", flush=True)
time.sleep(600)
"""


@pytest.fixture
def claims(tmp_path):
    return Claims(tmp_path / "claims", expire=60)


def owner(claims, expire=60.0, **environment):
    """Another process that has claimed "job"."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(claims.folder), str(expire)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout.readline() == "claimed\n"
    return process


def test_one_process_has_a_claim_until_it_is_done(claims):
    before = claims.state()
    claim = claims.claim("job", before)
    assert claim is not None
    assert claims.claim("job", before) is None
    assert claims.claim("job", claims.state()) is None
    claim.done(seconds=1.0)
    assert claims.state().done == {"job"}
    assert claims.facts("job.done")["attempt"] == 0
    # Whoever read the state before it was done does not do it again.
    started = before
    started.attempts["job"] = 1
    assert claims.claim("job", started) is None


def test_a_stopped_job_is_free_at_once_and_a_failed_one_when_somebody_asks(claims):
    claims.claim("job", claims.state()).stopped()
    assert claims.failure("job", claims.state()) is None
    claims.claim("job", claims.state()).failed(ValueError("the disk is full"))
    state = claims.state()
    assert claims.failure("job", state) == "the disk is full"
    claims.retry("job", state)
    assert claims.failure("job", claims.state()) is None
    assert claims.claim("job", claims.state()).number == 2


def test_the_job_of_a_process_that_died_on_this_machine_is_free_at_once(claims):
    process = owner(claims)
    assert claims.claim("job", claims.state()) is None
    os.kill(process.pid, signal.SIGSTOP)  # a process that is stopped keeps it
    assert claims.claim("job", claims.state()) is None
    process.kill()
    process.wait()
    assert claims.claim("job", claims.state()).number == 1


def test_the_job_of_a_process_on_another_machine_is_free_when_its_claim_expires(claims):
    process = owner(claims, expire=2.0, SLURMD_NODENAME="another")
    try:
        time.sleep(2.5)  # it is renewed
        assert claims.claim("job", claims.state()) is None
        os.kill(process.pid, signal.SIGSTOP)
        until = time.monotonic() + 30
        while (claim := claims.claim("job", claims.state())) is None:
            assert time.monotonic() < until
            time.sleep(0.1)
        # The other process ends as soon as it runs again, and leaves the job to its new owner.
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(30) == 75
        assert not claim.lost
    finally:
        process.kill()


def test_a_job_whose_processes_die_again_and_again_has_failed(claims, monkeypatch):
    for number in range(MOST_CRASHES):
        assert claims.failure("job", claims.state()) is None
        claims.path("job", number).write_text("{}")
    monkeypatch.setattr(Claims, "alive", lambda *_: False)
    state = claims.state()
    assert "attempts in a row died" in claims.failure("job", state)
    claims.retry("job", state)
    assert claims.failure("job", claims.state()) is None


def test_files_that_are_damaged_expire_like_others(claims):
    claims.path("job", 0).write_text("\0 no JSON")
    assert claims.claim("job", claims.state()) is None
    os.utime(claims.path("job", 0), (0, 0))
    assert claims.claim("job", claims.state()).number == 1


def test_machines_of_one_name_are_told_apart(monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    assert module.node() == "n1"
    assert module._machine().startswith("n1 ")
