"""Who works on which job of a plan: files in a folder that all machines see.

    NAME.0.claim    the first attempt at a job, made by one process
    NAME.0.ended    how that attempt ended, if not well: stopped or failed
    NAME.1.claim    the next attempt
    NAME.done       the job is done

To claim a job is to make the file of its next attempt by a hard link, which succeeds for one
process alone. The owner of a claim holds its lock and renews its time of change. A claim is stale
if its owner was on this machine and no longer holds the lock, or if it was on another machine and
has not renewed it for as long as it said. No file is removed, so the folder tells what was done by
whom.
"""

import json
import os
import platform
import re
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rate.messages import reason
from rate.storage.files import atomic_write, hold, is_held, partial, release, storage_errors
from rate.storage.untrusted import inside
from rate.system.interruption import end_at_once

MOST_CRASHES = 20
"""Attempts in a row whose processes died, after which a job counts as failed."""
RENEWALS = 4
"""How often a claim is renewed before it would be stale."""

_FILE = re.compile(r"(.+)\.(?:(\d{1,9})\.(claim|ended)|(done))")


def node() -> str:
    """The name of this machine, as SLURM or the machine itself says."""
    return os.environ.get("SLURMD_NODENAME") or platform.node()


def _machine() -> str:
    """What tells this machine from others, even if they have the same name."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{node()} {boot.read_text().strip() if boot.exists() else ''}"


@dataclass
class State:
    """What the files say of a plan's jobs, by name."""

    done: set[str] = field(default_factory=set)
    """Jobs that are done."""
    attempts: dict[str, int] = field(default_factory=dict)
    """Number of attempts so far."""
    ended: dict[str, set[int]] = field(default_factory=dict)
    """Attempts that ended without success."""

    def crashes(self, name: str) -> int:
        """Attempts in a row, up to the last one, that have no end."""
        count, ended = self.attempts.get(name, 0), self.ended.get(name, set())
        return count - 1 - max(ended, default=-1)


@dataclass
class Claim:
    """An attempt at a job by this process."""

    claims: "Claims"
    """Where it lies."""
    name: str
    """The job."""
    number: int
    """Which attempt it is."""
    descriptor: int
    """Holds the lock of the file."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the attempt has ended."""

    def done(self, **facts: Any) -> None:
        """The job is done."""
        if not self.lost:
            self.claims.write(f"{self.name}.done", {"attempt": self.number, **facts})
        self._end()

    def failed(self, error: BaseException) -> None:
        """The job cannot be done: it is not tried again unless somebody asks for that."""
        self.claims.write(
            f"{self.name}.{self.number}.ended", {"outcome": "failed", "error": reason(error)}
        )
        self._end()

    def stopped(self) -> None:
        """This process was asked to end, and has saved what it had; others may go on at once."""
        self.claims.write(f"{self.name}.{self.number}.ended", {"outcome": "stopped"})
        self._end()

    @property
    def lost(self) -> bool:
        """Whether another process took this claim for stale."""
        return self.claims.path(self.name, self.number + 1).exists()

    def renew(self) -> None:
        """Renew the claim until it has ended; end this process if it was lost."""
        path = self.claims.path(self.name, self.number)
        while not self.over.wait(self.claims.expire / RENEWALS):
            with suppress(OSError):  # a file system that does not answer may do so again
                os.utime(path)
                if self.lost and not self.over.is_set():
                    message = f"rate: {self.name} was taken by another process, as this one did "
                    message += f"not answer for {self.claims.expire:.0f} s: it ends here\n"
                    os.write(2, message.encode())
                    end_at_once(75)

    def _end(self) -> None:
        self.over.set()
        release(self.descriptor)


class Claims:
    """The claims of a plan.

    Args:
        folder: Where they lie; made if it is missing.
        expire: Seconds after which a claim of this process is stale unless it is renewed.
    """

    def __init__(self, folder: Path, expire: float) -> None:
        self.folder, self.expire = folder, expire
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str, number: int) -> Path:
        """The file of an attempt."""
        return inside(self.folder, f"{name}.{number}.claim")

    def write(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write one of the small files that say what became of a job."""
        atomic_write(inside(self.folder, name), json.dumps({**_who(), **facts}) + "\n")

    def facts(self, name: str) -> dict[str, Any]:
        """The content of one of the files; empty if it cannot be read."""
        with suppress(OSError, ValueError, RecursionError):
            found = json.loads(inside(self.folder, name).read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def state(self) -> State:
        """What the files say now."""
        state = State()
        for entry in os.listdir(self.folder):
            if match := _FILE.fullmatch(entry):
                name, number, kind, done = match.groups()
                if done:
                    state.done.add(name)
                elif kind == "claim":
                    state.attempts[name] = max(state.attempts.get(name, 0), int(number) + 1)
                else:
                    state.ended.setdefault(name, set()).add(int(number))
        return state

    def failure(self, name: str, state: State) -> str | None:
        """Why a job has failed; None if it has not."""
        if name in state.done or name not in state.attempts:
            return None
        last = state.attempts[name] - 1
        if last in state.ended.get(name, ()):
            facts = self.facts(f"{name}.{last}.ended")
            return str(facts.get("error")) if facts.get("outcome") == "failed" else None
        if state.crashes(name) < MOST_CRASHES or self.alive(name, last):
            return None
        return f"the processes of {MOST_CRASHES} attempts in a row died: perhaps memory ran out"

    def retry(self, name: str, state: State) -> None:
        """Let a job that has failed be tried again."""
        last = state.attempts[name] - 1
        before = self.facts(f"{name}.{last}.ended")
        self.write(f"{name}.{last}.ended", {**before, "outcome": "tried again"})

    def alive(self, name: str, number: int) -> bool:
        """Whether the owner of the newest claim of a job may still be at work."""
        path, facts = self.path(name, number), self.facts(f"{name}.{number}.claim")
        try:
            if facts.get("machine") == _machine() and (held := is_held(path)) is not None:
                return held
            expire = facts.get("expire")
            expire = float(expire) if isinstance(expire, int | float) else self.expire
            return self._time() - path.stat().st_mtime < expire
        except FileNotFoundError:
            return False

    def claim(self, name: str, state: State) -> Claim | None:
        """Begin the next attempt at a job, if nobody else is at work on it.

        Returns:
            The claim; None if another process has it.
        """
        number = state.attempts.get(name, 0)
        if number and number - 1 not in state.ended.get(name, ()):
            ended = inside(self.folder, f"{name}.{number - 1}.ended")
            if self.alive(name, number - 1) or ended.exists():
                return None
        path = self.path(name, number)
        hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        with storage_errors(path):
            descriptor = hold(hidden, lambda: hidden.write_text(json.dumps(self._claimed())))
            try:
                os.link(hidden, path)
            except FileExistsError:
                release(descriptor)
                return None
            except OSError as error:
                release(descriptor)
                raise type(error)(
                    f"{self.folder}: its file system has no hard links ({error.strerror}), by "
                    "which processes agree who does a job: put the plan on another one"
                ) from error
            finally:
                hidden.unlink(missing_ok=True)
        claim = Claim(self, name, number, descriptor)
        if inside(self.folder, f"{name}.done").exists():  # since the state was read
            claim.stopped()
            return None
        threading.Thread(target=claim.renew, daemon=True).start()
        return claim

    def _claimed(self) -> dict[str, Any]:
        return {**_who(), "machine": _machine(), "expire": self.expire}

    def _time(self) -> float:
        """The time of the file system, whose clock may differ from that of this machine."""
        with partial(self.folder / "time") as path:
            return path.stat().st_mtime


def _who() -> dict[str, str]:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"worker": f"process {os.getpid()} on {node()}", "date": date}
