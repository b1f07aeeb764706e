"""One engine of ViZDoom: a process of its own, whose end is noticed and which leaves nothing
behind."""

import os
import shutil
import tempfile
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rate.tasks.vizdoom.scenario import Rules, is_red, scenario

TICS = 2
"""Tics of the engine in a decision; the action is repeated."""
BUTTONS = (
    (True, False, False),
    (False, True, False),
    (False, False, True),
    (True, False, True),
    (False, True, True),
)
"""Turn left, turn right and move forward, for each action."""

CONFIG = "engine.ini"
PREFIX, OWNER = "rate-vizdoom-", "owner"
"""Beginning of the name of an engine's folder, and the file in it that names the process that owns
the engine."""
SHARED = Path("/dev/shm")
"""Where an engine keeps its memory on Linux."""

_START = threading.Lock()
"""One engine starts at a time, so that its process is recognised."""


class State(NamedTuple):
    """What is known of the world between two decisions."""

    frame: np.ndarray
    """The picture, uint8 [height, width, 3]."""
    health: int
    """0 to 100."""
    red: bool
    """The colour of the pillar."""
    pose: tuple[float, float, float]
    """Coordinates of the agent in map units, and its angle in radians, counterclockwise from
    east."""
    things: list[Any]
    """Whatever else is there: `name`, `position_x`, `position_y`."""


class EngineError(RuntimeError):
    """The engine died, or did not answer in time."""


class Engine:
    """Plays the scenario of some rules.

    Raises:
        EngineError: the engine did not start, died, or did not answer for `patience` seconds.
    """

    def __init__(self, rules: Rules, size: str = "256X144", patience: int = 30) -> None:
        """Start the engine's process.

        Args:
            rules: The scenario.
            size: Width and height of the picture, among the engine's formats.
            patience: Whole seconds after which an engine that does not answer is ended.
        """
        import psutil

        self._patience = patience
        self._asked = 0
        self._waiting = False
        self._late = (0, 0)
        remove_orphans()
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        (self._folder / OWNER).write_text(f"{os.getpid()} {psutil.Process().create_time()}")
        self._game = _configured(self._folder, rules, size)
        with _START:
            before = {child.pid for child in psutil.Process().children()}
            clean = not os.path.exists("_vizdoom")
            try:
                self._game.init()
            except Exception as error:
                shutil.rmtree(self._folder, ignore_errors=True)
                raise EngineError(f"ViZDoom's engine did not start: {error}") from error
            started = [child for child in psutil.Process().children() if child.pid not in before]
            if clean:  # the engine makes an empty folder where it starts
                _remove_empty(Path("_vizdoom"))
        self._process = started[0] if len(started) == 1 else None
        self.process_id = self._process.pid if self._process else None
        """The engine's process; None if other processes began with it."""
        self._stopped = threading.Event()
        self.close = weakref.finalize(self, _close, self._game, self._folder, self._stopped)
        """End the process and remove its files."""
        watch = threading.Thread(
            target=_watch, args=(weakref.ref(self), self._stopped), daemon=True
        )
        watch.start()

    def begin(self, seed: int) -> State:
        """Begin the episode of a seed, which is the same whatever was played before."""
        self._ask(self._game.set_seed, seed % 2**32)
        self._ask(self._game.new_episode)
        state = self._state()
        assert state is not None
        return state

    def act(self, action: int) -> State | None:
        """Take an action for a decision; None when the agent has died."""
        self._ask(self._game.make_action, list(BUTTONS[action]), TICS)
        return self._state()

    def _state(self) -> State | None:
        game = self._game
        if self._ask(game.is_episode_finished):
            return None
        state = self._ask(game.get_state)
        health, colour, x, y, angle = state.game_variables
        return State(
            state.screen_buffer,
            int(health),
            is_red(colour),
            (x, y, float(np.radians(angle))),
            state.objects,
        )

    def _ask(self, function: Any, *arguments: Any) -> Any:
        """Call the engine; `_watch` ends its process if it does not answer."""
        self._asked += 1
        self._waiting = True
        try:
            return function(*arguments)
        except Exception as error:
            reason = (
                f"did not answer for {self._patience:.0f} s and was ended"
                if self._late == (self._asked, self._patience)
                else f"died: {error}"
            )
            self.close()
            raise EngineError(f"ViZDoom's engine {reason}") from error
        finally:
            self._waiting = False

    def end_if_late(self) -> None:
        """End the process of an engine that has not answered for too long; called once a second.

        Calls are counted, not time: while this process is stopped, its engines are, too, and none
        of them is late.
        """
        question, seconds = self._late
        same = self._waiting and question == self._asked
        self._late = self._asked, min(seconds + 1, self._patience) if same else 0
        if self._late[1] >= self._patience and self._process is not None:
            self._process.kill()


def _watch(engine: "weakref.ref[Engine]", stopped: threading.Event) -> None:
    while not stopped.wait(1.0):
        watched = engine()
        if watched is None:
            return
        watched.end_if_late()
        del watched


def remove_orphans() -> None:
    """End engines whose owners were killed, which left them no time to do so, and remove their
    files."""
    import psutil

    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError, psutil.Error):
            owner, created = (folder / OWNER).read_text().split()
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(int(owner)).create_time() == float(created):
                    continue
            for process in psutil.process_iter(["cmdline"]):
                words = process.info["cmdline"] or []
                if str(folder / CONFIG) in words:
                    process.kill()
                    name = words[words.index("+viz_instance_id") + 1]
                    for file in SHARED.glob(f"ViZDoom*{name}"):
                        file.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def _configured(folder: Path, rules: Rules, size: str) -> Any:
    import vizdoom

    (folder / "scenario.wad").write_bytes(scenario(rules))
    game = vizdoom.DoomGame()
    game.set_doom_scenario_path(str(folder / "scenario.wad"))
    game.set_doom_map("map01")
    game.set_doom_config_path(str(folder / CONFIG))
    game.set_screen_resolution(getattr(vizdoom.ScreenResolution, f"RES_{size}"))
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    for part in ("hud", "crosshair", "weapon", "decals", "particles"):
        getattr(game, f"set_render_{part}")(False)
    button, variable = vizdoom.Button, vizdoom.GameVariable
    game.set_available_buttons([button.TURN_LEFT, button.TURN_RIGHT, button.MOVE_FORWARD])
    game.set_available_game_variables(
        [variable.HEALTH, variable.USER2, variable.POSITION_X, variable.POSITION_Y, variable.ANGLE]
    )
    game.set_objects_info_enabled(True)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_doom_skill(3)
    game.set_sound_enabled(False)
    game.set_window_visible(False)
    game.set_episode_timeout(0)
    return game


def _close(game: Any, folder: Path, stopped: threading.Event) -> None:
    stopped.set()
    game.close()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
