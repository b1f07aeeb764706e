"""How figures look: colours, lines, labels and logarithmic axes, the same in every figure."""

import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from scipy.optimize import isotonic_regression

# Okabe and Ito's colours without the yellow, which is too pale on white, then three of Tol's: a set
# that stays apart for colour-blind readers. Markers say the same once more.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
COLOURS = (*OKABE_ITO, "#882255", "#999933", "#332288")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
INK, FAINT = "#333333", "#8C8C8C"
SMALL = 9.5
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


def short(text: str, width: int = 28) -> str:
    """Text cut to `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def png(draw: Callable[[Figure], None], size: tuple[float, float]) -> bytes:
    """A figure as PNG.

    Args:
        draw: Fills the figure.
        size: Width and height in inches; 8 inches are meant to be seen 800 pixels wide.
    """
    with rc_context():
        rcdefaults()  # whatever a matplotlibrc of the current folder says
        rcParams.update(STYLE)
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        # No software version in the file: equal rows give equal bytes.
        figure.savefig(buffer, dpi=160, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


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
    shown: list[float] = []
    for x in [positions[0], positions[-1], *(x for x in positions if x == marked), *positions]:
        if all(abs(math.log10(x / other)) > 0.075 * span for other in shown):
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


def legend_columns(names: Sequence[str]) -> int:
    """Names side by side in a legend as wide as the figure."""
    return max(1, min(5, 80 // (6 + max((len(short(name)) for name in names), default=0))))


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
        ncols=legend_columns(names),
        **{"frameon": False, "handlelength": 1.4, "columnspacing": 1.6},
    )
