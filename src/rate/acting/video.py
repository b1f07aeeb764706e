"""Video files: MP4 (H.264) or animated WebP, written by the ffmpeg that imageio ships.

A file is complete or absent: it bears a hidden name until the encoder has ended well.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from rate.extras import how_to_install
from rate.storage.files import partial, storage_errors, synchronise_folder
from rate.storage.folders import require_writable

FORMATS = {
    ".mp4": "-c:v libx264 -crf 27 -preset veryfast -movflags +faststart -f mp4",
    ".webp": "-c:v libwebp_anim -quality 70 -compression_level 2 -loop 0 -f webp",
}
"""Options of the encoder by the ending of a file's name."""

Show = Callable[[np.ndarray], None]
"""Adds a frame, uint8 [height, width, 3]."""


def require_video(path: str | os.PathLike[str]) -> None:
    """Check that videos can be written, and one of this name.

    Raises:
        ValueError: The name ends in no format that is written.
        ModuleNotFoundError: The encoder is not installed.
        OSError: The folder does not exist, or cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"the video {path} has the ending {path.suffix!r}, but it must be one of "
            f"{', '.join(FORMATS)}"
        )
    _encoder()
    with storage_errors(path), partial(path):
        pass


def require_videos(folder: Path) -> None:
    """Make a folder, if it is missing, and check that videos can be written in it; see
    `require_video`."""
    _encoder()
    require_writable(folder)


@contextmanager
def video(path: str | os.PathLike[str], frames_per_second: float) -> Iterator[Show]:
    """Write a video as long as the context lasts; nothing of it is left if that ends by an error.

    Args:
        path: The file, which ends in .mp4 or .webp; an older one is replaced.
        frames_per_second: How fast it is shown.

    Raises:
        ValueError: No frame was shown, or frames differ in size.
        OSError: The file cannot be written.
    """
    require_video(path)
    path = Path(path)
    with storage_errors(path), partial(path) as written:
        encoder = _Encoder(written, FORMATS[path.suffix.lower()].split(), frames_per_second)
        try:
            yield encoder.show
            encoder.finish(path)
        finally:
            encoder.end()
        os.replace(written, path)
        synchronise_folder(path.parent)


class _Encoder:
    """A process of ffmpeg, which starts with the first frame."""

    def __init__(self, path: Path, options: Sequence[str], frames_per_second: float) -> None:
        self._path, self._options, self._speed = path, options, frames_per_second
        self._process: subprocess.Popen[bytes] | None = None
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (`end` closes it)
        self._shape: tuple[int, ...] = ()

    def show(self, frame: np.ndarray) -> None:
        """Add a frame; sides of odd length lose a pixel, which the encoder asks for."""
        frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
        if self._process is None:
            self._shape = frame.shape
            self._process = self._started()
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(
                f"a frame is {frame.dtype} of shape {frame.shape}, but those before are uint8 of "
                f"shape {self._shape}"
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the encoder has ended, and `finish` says why
            self._process.stdin.write(np.ascontiguousarray(frame).tobytes())

    def finish(self, path: Path) -> None:
        """Wait for the encoder to write its last frames."""
        if self._process is None:
            raise ValueError(f"{path}: there are no frames to write")
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.wait():
            self._messages.seek(0)
            said = self._messages.read().decode("utf-8", "replace").strip().splitlines()
            raise OSError(f"cannot write {path}: the encoder failed: {' '.join(said[-2:])}")
        with open(self._path, "rb") as file:
            os.fsync(file.fileno())

    def end(self) -> None:
        """End the encoder if it is still at work."""
        if self._process is not None:
            with suppress(OSError):
                assert self._process.stdin is not None
                self._process.kill()
                self._process.stdin.close()
            self._process.wait()
        self._messages.close()

    def _started(self) -> "subprocess.Popen[bytes]":
        height, width = self._shape[:2]
        source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {self._speed:g} -i -".split()
        return subprocess.Popen(
            [
                *(_encoder(), "-y", "-hide_banner", "-nostats", "-loglevel", "error", *source),
                *("-pix_fmt", "yuv420p", "-threads", "1", *self._options, str(self._path)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            start_new_session=True,  # Ctrl-C is this process's to handle
        )


def _encoder() -> str:
    """The program ffmpeg."""
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"videos need {error.name}, which is not installed: {how_to_install('film')}"
        ) from error
    return str(imageio_ffmpeg.get_ffmpeg_exe())
