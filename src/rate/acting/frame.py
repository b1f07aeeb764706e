"""Frames of a film: the picture of a task, what is known of the episode, and the policy's memory.

A frame is 480 pixels wide, so that its text is legible on a phone. Its layout is that of the first
one: later pictures are fitted into the same area.
"""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rate.acting.watched import Activity
from rate.tasks.picture import diverging

WIDTH = 480
"""Pixels of a frame from left to right."""
MARGIN = 12
INNER = WIDTH - 2 * MARGIN
TALLEST = 342
"""Most pixels of the picture from top to bottom."""
BESIDE = 1.3
"""Width by height of a picture from which on the text is below it, and not beside it."""
COLUMN = 4
"""Pixels for each frame in the strip of memory over time."""
MOST_ROWS, MOST_COLUMNS = 24, INNER // 2
"""Rows and columns of memory that are drawn; of more, means are."""

BACKGROUND, LABEL, VALUE = (16, 18, 22), (140, 150, 165), (240, 243, 247)
DARK, BRIGHT = np.array((30, 33, 40), float), np.array((255, 205, 90), float)


class Moment(NamedTuple):
    """What a frame shows."""

    title: str
    """One line above the picture."""
    picture: np.ndarray
    """The task, uint8 [height, width, 3]."""
    facts: Mapping[str, str]
    """Step, return and the like, by name."""
    activity: Activity | None = None
    """The policy's memory."""


class Frames:
    """Draws the frames of one film; keeps what the strip of memory over time has shown."""

    def __init__(self) -> None:
        self._size = 0, 0
        self._strip: deque[np.ndarray] = deque(maxlen=INNER // COLUMN)
        self._before: np.ndarray | None = None
        self._largest = 1e-6
        self._small, self._normal = (ImageFont.load_default(size) for size in (13, 17))

    def begin(self) -> None:
        """Forget the memory of the episode before."""
        self._strip.clear()
        self._before = None

    def draw(self, moment: Moment) -> np.ndarray:
        """The next frame, uint8 [height, 480, 3], of an even height."""
        if not self._size[0]:
            self._lay_out(moment)
        image = Image.new("RGB", (WIDTH, self._height), BACKGROUND)
        pen = ImageDraw.Draw(image)
        pen.text((MARGIN, 8), _cut(moment.title, 62), LABEL, self._small)
        self._paste(image, moment.picture)
        self._write(pen, moment.facts)
        if moment.activity is not None and self._memory:
            self._draw_memory(image, pen, moment.activity)
        return np.asarray(image)

    def _lay_out(self, moment: Moment) -> None:
        height, width = moment.picture.shape[:2]
        self._beside = width < BESIDE * height
        across = 264 if self._beside else INNER
        self._size = across, max(24, min(TALLEST, round(across * height / width)))
        self._lines = len(moment.facts)
        below = 30 + self._size[1] + 10
        if not self._beside:
            below += 42 * -(-self._lines // 3)
        self._memory: list[tuple[str, int, int]] = []
        if moment.activity is not None:
            rows = len(_pooled(moment.activity.contents, MOST_ROWS))
            attended = moment.activity.attention is not None
            strip = len(self._changes(moment.activity))
            titles = "memory", "attention to memory" if attended else "change of memory"
            for title, count in zip(titles, (rows, strip), strict=True):
                tall = count * max(3, min(14, 72 // count))
                self._memory.append((title, below, tall))
                below += 20 + tall + 8
        self._height = below + below % 2

    def _paste(self, image: Image.Image, picture: np.ndarray) -> None:
        height, width = picture.shape[:2]
        scale = min(self._size[0] / width, self._size[1] / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
        fitted = Image.fromarray(picture).resize(size, resample)
        left, top = ((whole - part) // 2 for whole, part in zip(self._size, size, strict=True))
        image.paste(fitted, (MARGIN + left, 30 + top))

    def _write(self, pen: ImageDraw.ImageDraw, facts: Mapping[str, str]) -> None:
        for number, (name, value) in enumerate(list(facts.items())[: self._lines]):
            if self._beside:
                left, top = MARGIN + self._size[0] + 14, 30 + 42 * number
                if top + 42 > 30 + max(self._size[1], 42):
                    return
            else:
                row, column = divmod(number, 3)
                left, top = MARGIN + column * INNER // 3, 30 + self._size[1] + 10 + 42 * row
            pen.text((left, top), _cut(name, 22), LABEL, self._small)
            pen.text((left, top + 16), _cut(value, 18), VALUE, self._normal)

    def _draw_memory(
        self, image: Image.Image, pen: ImageDraw.ImageDraw, activity: Activity
    ) -> None:
        contents = _pooled(_pooled(activity.contents, MOST_ROWS).T, MOST_COLUMNS).T
        self._largest = max(self._largest, float(np.abs(contents).max(initial=0)))
        self._strip.append(self._changes(activity))
        self._before = activity.contents
        strip = np.stack(self._strip, 1)
        strip = strip / max(1e-6, strip.max())
        missing = (self._strip.maxlen or 0) - strip.shape[1]
        strip = np.pad(strip, ((0, 0), (0, missing)))
        shades = DARK + strip[..., None] * (BRIGHT - DARK)
        drawn = diverging(contents / self._largest), shades.astype(np.uint8)
        for (title, top, tall), colours in zip(self._memory, drawn, strict=True):
            pen.text((MARGIN, top), title, LABEL, self._small)
            part = Image.fromarray(colours).resize((INNER, tall), Image.Resampling.NEAREST)
            image.paste(part, (MARGIN, top + 20))

    def _changes(self, activity: Activity) -> np.ndarray:
        """Attention to each part of memory; where there is none, how much each has changed."""
        if activity.attention is not None:
            return _pooled(activity.attention[:, None], MOST_ROWS)[:, 0]
        before = activity.contents if self._before is None else self._before
        change = np.sqrt(np.square(activity.contents - before).mean(1, keepdims=True))
        return _pooled(change, MOST_ROWS)[:, 0]


class Strip:
    """A few pictures of an episode in one image, with their steps below them.

    Args:
        pictures: How many, at most.
    """

    def __init__(self, pictures: int = 6) -> None:
        self._most, self._seen = pictures, list[tuple[int, Image.Image]]()
        self._every, self._count = 1, 0

    def add(self, step: int, picture: np.ndarray) -> None:
        """Take the next picture, uint8 [height, width, 3]."""
        if self._count % self._every == 0:
            height, width = picture.shape[:2]
            scale = min(INNER / width, 150 / height) if width > BESIDE * height else 200 / height
            size = max(16, round(width * scale)), max(12, round(height * scale))
            resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
            self._seen.append((step, Image.fromarray(picture).resize(size, resample)))
        self._count += 1
        if len(self._seen) > 8 * self._most:  # every second one is enough from here on
            del self._seen[1::2]
            self._every *= 2

    def image(self) -> Image.Image:
        """The pictures, evenly spaced in time, in rows of three, or in a column if they are
        wide."""
        last = len(self._seen) - 1
        places = sorted({round(last * k / (self._most - 1)) for k in range(self._most)})
        chosen = [self._seen[place] for place in places]
        width, height = chosen[0][1].size
        across = 1 if width > 4 * height else min(3, len(chosen))
        down, right = height + 32, width + 6
        whole = right * across - 6, down * -(-len(chosen) // across)
        strip = Image.new("RGB", whole, BACKGROUND)
        pen, font = ImageDraw.Draw(strip), ImageFont.load_default(20)
        for number, (step, picture) in enumerate(chosen):
            row, column = divmod(number, across)
            strip.paste(picture.resize((width, height)), (right * column, down * row))
            pen.text((right * column + 4, down * row + height + 4), f"step {step}", LABEL, font)
        return strip


def _pooled(values: np.ndarray, most: int) -> np.ndarray:
    """Values [rows, columns] with at most so many rows, each the mean of its share."""
    if len(values) <= most:
        return values
    starts = np.linspace(0, len(values), most, endpoint=False).astype(int)
    sums: np.ndarray = np.add.reduceat(values, starts, axis=0)
    return sums / np.diff([*starts, len(values)])[:, None]


def _cut(text: str, most: int) -> str:
    """A text that fits, of characters that the font has."""
    text = text.encode("latin-1", "replace").decode("latin-1")
    return text if len(text) <= most else f"{text[: most - 1]}…"
