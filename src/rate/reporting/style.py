"""How figures look: colours, lines, labels and logarithmic axes, the same in every figure."""

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from scipy.optimize import isotonic_regression

# Okabe and Ito's colours without the yellow, which is too pale on white, then three of Tol's: a set
# that stays apart for colour-blind readers. Markers say the same once more.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
COLOURS = (*OKABE_ITO, "#882255", "#999933", "#332288")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
INK, FAINT, LINE, SOFT = "#333333", "#8C8C8C", "#E6E6E6", "#F0F0F0"
ON_DARK, ON_BRIGHT = "#FDFDFD", "#343434"
"""Ink on coloured cells, whatever the page's colours are."""
RED, GREEN = "#C1272D", "#1E8449"
VARIABLES = {
    INK.lower(): "ink",
    FAINT.lower(): "faint",
    LINE.lower(): "line",
    SOFT.lower(): "soft",
    "#ffffff": "ground",
    RED.lower(): "red",
    GREEN.lower(): "green",
    **{colour.lower(): f"colour-{number}" for number, colour in enumerate(COLOURS)},
}
"""Variables of the page's style by the colours that figures are drawn in."""
NARROW = 4.2
"""Width in inches of a figure for a phone."""
SMALL = 9.5
LABEL = 0.46
"""Width in inches that the label of a position needs."""
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "text.parse_math": False,  # A name that holds a dollar sign is a name.
    "xtick.color": INK,
    "ytick.color": INK,
}


def colour(index: int) -> str:
    """Colour of the index-th variant."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Marker of the index-th variant."""
    return MARKERS[index % len(MARKERS)]


def dashes(index: int) -> Literal["-", "--", ":"]:
    """Line style of the index-th variant: dashed where colours begin again."""
    styles: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")
    return styles[index // len(COLOURS) % len(styles)]


def ordered(order: Sequence[str], present: Iterable[str]) -> list[str]:
    """The variants that are present, those of `order` first."""
    present = dict.fromkeys(present)
    return [name for name in dict.fromkeys([*order, *present]) if name in present]


def position_label(x: float) -> str:
    """A position on the axis in full digits: 9600, not 9.6e+03."""
    return str(int(x)) if float(x).is_integer() else f"{x:g}"


def task_labels(names: Sequence[str], width: int) -> list[str]:
    """Names of tasks in at most three lines, without their family and without the options that all
    of them have."""
    split = [name.split(",") for name in names]
    common = set.intersection(*(set(options) for _, *options in split)) if len(split) > 1 else set()
    texts = [
        ", ".join([task.rpartition("/")[2], *(one for one in options if one not in common)])
        for task, *options in split
    ]
    return ["\n".join(wrap(text, width, max_lines=3, placeholder="…")) for text in texts]


def short(text: str, width: int = 28) -> str:
    """Text cut to `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn wide, or narrow for a phone."""

    draw: Callable[[Figure], None]
    """Fills a figure; asks `is_narrow` where the arrangement depends on it."""
    size: tuple[float, float]
    """Width and height in inches; 8 inches are meant to be seen 800 pixels wide."""
    narrow_height: float
    """Height in inches of the narrow figure, which is NARROW inches wide."""

    def png(self) -> bytes:
        """The wide figure as PNG."""
        # No software version in the file: equal rows give equal bytes.
        look: dict[str, Any] = {"dpi": 160, "facecolor": "white", "metadata": {"Software": None}}
        return self._saved(self.size, **look)

    def svg(self, name: str, narrow: bool = False) -> str:
        """The figure as an SVG element, in colours of the page's style.

        Args:
            name: Tells it apart from the other figures of a page.
            narrow: Whether it is drawn for a phone.
        """
        size = (NARROW, self.narrow_height) if narrow else self.size
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        look: dict[str, Any] = {"format": "svg", "transparent": True, "metadata": metadata}
        salt = f"{name}-{'narrow' if narrow else 'wide'}"
        text = self._saved(size, {"svg.fonttype": "none", "svg.hashsalt": salt}, **look)
        return _styled(text.decode("utf-8"))

    def _saved(
        self, size: tuple[float, float], style: Mapping[str, Any] | None = None, **look: Any
    ) -> bytes:
        with rc_context():
            rcdefaults()  # whatever a matplotlibrc of the current folder says
            rcParams.update(STYLE | dict(style or {}))
            figure = Figure(figsize=size, layout="constrained")
            self.draw(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, **look)
        return buffer.getvalue()


def png(draw: Callable[[Figure], None], size: tuple[float, float]) -> bytes:
    """A figure as PNG; see `Drawing`."""
    return Drawing(draw, size, size[1]).png()


def is_narrow(figure: Figure | SubFigure) -> bool:
    """Whether a figure is drawn for a phone."""
    return bool(figure.bbox.width / figure.dpi < 6)


def _styled(text: str) -> str:
    """A document of matplotlib as an element of a page: colours are variables of the style, and
    only those names are kept that something refers to."""
    text = text[text.index("<svg") :]
    text = re.sub(r' (?:width|height)="[0-9.]+pt"', "", text, count=2)
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda name: name[0] if name[1] in used else "", text)
    return re.sub(
        "|".join(VARIABLES),
        lambda colour: f"var(--{VARIABLES[colour[0].lower()]})",
        text,
        flags=re.IGNORECASE,
    )


def log_positions(axes: Axes, positions: Sequence[float], marked: float | None = None) -> None:
    """A logarithmic x axis whose ticks are the positions, labelled where labels fit; `marked` is
    within its limits."""
    if not positions:
        return
    seen = [*positions, marked] if marked else positions
    low, high = math.log10(min(seen)), math.log10(max(seen))
    span = max(high - low, 0.3)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (low - 0.03 * span), 10 ** (high + 0.03 * span))
    inches = axes.get_position().width * axes.figure.bbox.width / axes.figure.dpi
    apart = span * LABEL / inches
    shown: list[float] = []
    for x in [positions[0], positions[-1], *(x for x in positions if x == marked), *positions]:
        if all(abs(math.log10(x / other)) > apart for other in shown):
            shown.append(x)
    axes.set_xticks(shown, [position_label(x) for x in shown])
    axes.xaxis.set_minor_locator(FixedLocator([x for x in positions if x not in shown]))
    axes.xaxis.set_minor_formatter(NullFormatter())


def log_values(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 1000 else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def note(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """A small, faint text."""
    axes.text(x, y, text, color=FAINT, fontsize=SMALL, **options)


def vertical_line(axes: Axes, x: float, text: str) -> None:
    """A thin line at x with its meaning above the axes."""
    axes.axvline(x, color=FAINT, linewidth=1, zorder=0)
    note(axes, x, 1.015, text, transform=axes.get_xaxis_transform(), ha="center", va="bottom")


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, int]]) -> None:
    """Names beside the ends (height, name, index) of lines, moved apart where they would
    overlap."""
    if not ends:
        return
    side, to_fraction = axes.get_xlim()[1], axes.transData + axes.transAxes.inverted()
    places = sorted(
        (float(to_fraction.transform((side, y))[1]), text, index) for y, text, index in ends
    )
    gap = min(0.06, 1.04 / max(1, len(places) - 1))
    heights = spread([height for height, _, _ in places], gap, -0.02, 1.02)
    place: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    for y, (_, text, index) in zip(heights, places, strict=True):
        look: dict[str, Any] = {"color": colour(index), **place}
        axes.add_line(Line2D((1.015, 1.05), (y, y), linestyle=dashes(index), linewidth=2, **look))
        axes.add_line(Line2D((1.0325,), (y,), marker=marker(index), markersize=5.5, **look))
        axes.text(1.065, y, short(text, 36), va="center", weight="bold", fontsize=10.5, **look)


def spread(
    heights: Sequence[float], gap: float, low: float = -math.inf, high: float = math.inf
) -> list[float]:
    """Ascending heights moved as little as possible to be at least `gap` apart.

    Args:
        heights: The heights.
        gap: Least distance of two of them.
        low: Least height that is given out.
        high: Largest height, as far as all fit between the two.
    """
    steps = gap * np.arange(len(heights))
    # Heights are `gap` apart where heights less these steps do not fall.
    rising = isotonic_regression(np.asarray(heights) - steps).x
    moved: list[float] = (np.maximum(np.minimum(rising, high - steps[-1]), low) + steps).tolist()
    return moved


def legend_columns(names: Sequence[str], width: float = 8) -> int:
    """Names side by side in a legend as wide as the figure, in inches."""
    longest = max((len(short(name)) for name in names), default=0)
    return max(1, min(5, int(10 * width) // (6 + longest)))


def legend(figure: Figure, names: Sequence[str], marked: bool = False) -> None:
    """Names above all axes, with lines or markers as keys."""
    keys = [
        Line2D((), (), color=colour(index), linestyle=dashes(index), linewidth=2.2)
        for index in range(len(names))
    ]
    for index, key in enumerate(keys if marked else ()):
        key.set(linestyle="", marker=marker(index))
    figure.legend(
        keys,
        list(map(short, names)),
        loc="outside upper left",
        ncols=legend_columns(names, figure.get_figwidth()),
        **{"frameon": False, "handlelength": 1.4, "columnspacing": 1.6},
    )
