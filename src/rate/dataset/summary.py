"""What a card says of lengths and returns."""

from typing import Any

import numpy as np

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def lengths_summary(lengths: np.ndarray) -> dict[str, Any]:
    """Least, most and mean steps of episodes, [episodes]."""
    return {
        "min": int(lengths.min()),
        "max": int(lengths.max()),
        "mean": float(np.mean(lengths)),
    }


def returns_summary(returns: np.ndarray) -> dict[str, Any]:
    """Statistics of returns of episodes, [episodes] float64."""
    quantiles = {str(level): float(np.quantile(returns, level)) for level in QUANTILES}
    numbers = {
        "min": returns.min(),
        "max": returns.max(),
        "mean": returns.mean(),
        "std": returns.std(),
    }
    return {**{name: float(number) for name, number in numbers.items()}, "quantiles": quantiles}
