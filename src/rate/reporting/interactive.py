"""A page of the figures to point at, zoom into and filter: Vega-Lite, inlined, without a network.

It stands beside report.html, which has no script. Names and numbers enter it as JSON in which no
markup can begin; fields and expressions of the figures are fixed here.
"""

import html
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rate.extras import how_to_install
from rate.reporting.load import Curve, Evidence
from rate.reporting.results import Results, on_axis
from rate.reporting.statistics import Summary
from rate.reporting.style import COLOURS

FILE = "interactive.html"
POINTS = 300
"""Most points of a training curve."""
QUANTITIES = {"loss": "loss", "accuracy": "accuracy", "score": "score in validation"}

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data:"
)
_STYLE = """
:root { color-scheme: light dark; --ink: #333; --faint: #777; --ground: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --faint: #999; --ground: #16181c; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } p { color: var(--faint); } .chart { width: 100%; }
"""
_SCRIPT = """
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const [ink, line] = dark ? ["#ddd", "#444"] : ["#333", "#e6e6e6"];
const words = { labelColor: ink, titleColor: ink };
const config = { background: "transparent", font: "system-ui, sans-serif", view: { stroke: null },
  axis: { ...words, gridColor: line, domainColor: line, tickColor: line }, legend: words };
for (const [id, spec] of Object.entries(SPECS)) {
  vegaEmbed("#" + id, { ...spec, config }, { actions: { export: true, source: false,
    compiled: false, editor: false } });
}
"""


def page(evidence: Evidence, results: Results) -> str:
    """The whole document.

    Raises:
        ModuleNotFoundError: the package of the extra "interactive" is not installed.
    """
    try:
        from vl_convert import javascript_bundle
    except ImportError as error:
        raise ModuleNotFoundError(
            f"an interactive report needs vl-convert-python: {how_to_install('interactive')}"
        ) from error
    facts = evidence.facts
    title = html.escape(facts.title or facts.name)
    charts = {name: chart for name, chart in _charts(evidence, results) if chart}
    specs = {f"chart-{number}": chart for number, chart in enumerate(charts.values())}
    body = "".join(
        f'<h2>{html.escape(name)}</h2>\n<div class="chart" id="{place}"></div>\n'
        for name, place in zip(charts, specs, strict=True)
    )
    hint = (
        "Point at a mark for its numbers; click a name in the legend to single it out (shift for "
        "several); drag and scroll to move and zoom, double-click to go back."
    )
    library = javascript_bundle("window.vegaEmbed = vegaEmbed;")
    scripts = (_inert(library), f"const SPECS = {_json(specs)};\n{_SCRIPT}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"<p>{html.escape(hint)}</p>\n{body}"
        + "".join(f"<script>{script}</script>\n" for script in scripts)
        + "</body>\n</html>\n"
    )


def _inert(script: str) -> str:
    """A script that cannot end its element."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _json(data: Any) -> str:
    """JSON for a script: no markup begins in it."""
    text = json.dumps(data, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _charts(evidence: Evidence, results: Results) -> Iterator[tuple[str, dict[str, Any]]]:
    scored = [one for one in results.summaries if one.seeds]
    order = list(dict.fromkeys([*(one.variant for one in scored), *evidence.facts.order]))
    if scored:
        axis = evidence.facts.axis or "task size"
        placed = on_axis(scored)
        yield "Scores", _against(scored, order, axis) if placed else _by_task(scored, order)
    curves = [run.curve for run in evidence.runs if run.curve]
    if curves:
        yield "Training", _training(curves, order)


def _numbers(one: Summary) -> dict[str, Any]:
    low, high = one.interval
    seeds = ", ".join(map(str, one.seeds))
    found = {"variant": one.variant, "task": one.task, "x": one.x, "mean": one.mean}
    return {**found, "low": low, "high": high, "seeds": seeds, "episodes": one.episodes}


_TIP = [
    {"field": "variant", "type": "nominal"},
    {"field": "task", "type": "nominal"},
    {"field": "mean", "type": "quantitative", "format": ".3f"},
    {"field": "low", "type": "quantitative", "format": ".3f", "title": "95 % from"},
    {"field": "high", "type": "quantitative", "format": ".3f", "title": "95 % to"},
    {"field": "seeds", "type": "nominal"},
    {"field": "episodes", "type": "quantitative"},
]
_LEGEND = {"name": "named", "select": {"type": "point", "fields": ["variant"]}, "bind": "legend"}
_ZOOM = {"name": "part", "select": "interval", "bind": "scales"}


def _shown(least: float = 0.08, most: float = 1.0) -> dict[str, Any]:
    return {"condition": {"param": "named", "value": most}, "value": least}


def _colour(order: Sequence[str]) -> dict[str, Any]:
    shades = [COLOURS[index % len(COLOURS)] for index in range(len(order))]
    scale = {"domain": list(order), "range": shades}
    legend = {"symbolOpacity": 1, "symbolType": "circle"}
    return {"field": "variant", "type": "nominal", "scale": scale, "title": None, "legend": legend}


def _whole(values: Any, height: int, layer: list[dict[str, Any]]) -> dict[str, Any]:
    size = {"width": "container", "height": height}
    return {"data": {"values": values}, **size, "layer": layer}


def _against(scored: Sequence[Summary], order: Sequence[str], axis: str) -> dict[str, Any]:
    """Mean scores with their intervals against the position."""
    positions = sorted({one.x for one in scored if one.x})
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 8},
        "axis": {"values": positions, "title": axis, "grid": False, "labelOverlap": True},
    }
    metric = " / ".join(dict.fromkeys(one.metric for one in scored))
    both = {"x": x, "color": _colour(order)}
    upwards: dict[str, Any] = {
        "type": "quantitative",
        "title": metric,
        "scale": {"padding": 8, "nice": False},
    }
    mean = {"field": "mean", **upwards}
    edges = {"y": {"field": "low", **upwards}, "y2": {"field": "high"}}
    layer: list[dict[str, Any]] = [
        {"mark": "area", "encoding": {**both, **edges, "opacity": _shown(0.0, 0.15)}},
        {
            "params": [_LEGEND, _ZOOM],
            "mark": {"type": "line", "point": {"size": 60}},
            "encoding": {**both, "y": mean, "opacity": _shown(), "tooltip": _TIP},
        },
    ]
    return _whole([_numbers(one) for one in scored if one.x], 380, layer)


def _by_task(scored: Sequence[Summary], order: Sequence[str]) -> dict[str, Any]:
    """Mean scores with their intervals, a row for each task."""
    names = list(dict.fromkeys(one.task for one in scored))
    metric = " / ".join(dict.fromkeys(one.metric for one in scored))
    row: dict[str, Any] = {"field": "task", "type": "nominal", "sort": names, "title": None}
    row["axis"] = {"labelLimit": 260, "grid": True}
    both: dict[str, Any] = {"y": row, "color": _colour(order), "opacity": _shown()}
    both["yOffset"] = {"field": "variant", "type": "nominal", "sort": list(order)}
    edges = {
        "x": {"field": "low", "type": "quantitative", "title": metric},
        "x2": {"field": "high"},
    }
    mean = {"field": "mean", "type": "quantitative", "title": metric}
    point = {"type": "point", "filled": True, "size": 60}
    layer: list[dict[str, Any]] = [
        {"mark": {"type": "rule", "opacity": 0.6}, "encoding": {**both, **edges}},
        {
            "params": [_LEGEND],
            "mark": point,
            "encoding": {**both, "x": mean, "tooltip": _TIP},
        },
    ]
    height = max(160, 12 * len(scored) + 24 * len(names))
    return _whole([_numbers(one) for one in scored], height, layer)


def _training(curves: Sequence[Curve], order: Sequence[str]) -> dict[str, Any]:
    """One quantity, which is chosen, of all runs against updates."""
    values = [point for curve in curves for point in _points(curve)]
    present = [name for name in QUANTITIES if any(one["quantity"] == name for one in values)]
    choice = {
        "name": "quantity",
        "value": present[0] if present else "loss",
        "bind": {"input": "select", "options": present, "name": "Quantity "},
    }
    tip: list[dict[str, Any]] = [
        {"field": "variant", "type": "nominal"},
        {"field": "seed", "type": "nominal"},
        {"field": "update", "type": "quantitative"},
        {"field": "value", "type": "quantitative", "format": ".4g"},
    ]
    encoding = {
        "x": {"field": "update", "type": "quantitative"},
        "y": {
            "field": "value",
            "type": "quantitative",
            "title": None,
            "scale": {"zero": False},
        },
        "color": _colour(order),
        "detail": {"field": "seed", "type": "nominal"},
        "opacity": _shown(most=0.8),
        "tooltip": tip,
    }
    line = {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": encoding}
    chart = _whole(values, 320, [{"params": [_LEGEND, _ZOOM], **line}])
    chosen = {"filter": "datum.quantity == quantity"}
    return {**chart, "params": [choice], "transform": [chosen]}


def _points(curve: Curve) -> Iterator[dict[str, Any]]:
    """What was measured of a run, as means of groups of updates."""
    for name in QUANTITIES:
        measured = np.asarray(getattr(curve, name))
        known = np.flatnonzero(np.isfinite(measured))
        for part in np.array_split(known, min(POINTS, len(known))) if len(known) else ():
            yield {
                "variant": curve.variant,
                "seed": curve.seed,
                "quantity": name,
                "update": float(curve.updates[part].mean()),
                "value": float(measured[part].mean()),
            }
