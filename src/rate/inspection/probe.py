"""Probes of memory in NumPy: a linear classifier, principal components, and intervals."""

from dataclasses import dataclass

import numpy as np

from rate.reporting.intervals import bootstrap_interval, count_interval


@dataclass(frozen=True)
class Estimate:
    """A mean over episodes."""

    value: float
    """The mean."""
    interval: tuple[float, float]
    """Its 95 % interval."""
    episodes: int
    """Number of episodes."""
    chance: float | None = None
    """The value for an answer that is always the most frequent one."""


def estimate(scores: np.ndarray, chance: float | None = None) -> Estimate:
    """The mean of scores [n], with a Wilson interval if all are 0 or 1, and a bootstrap interval
    otherwise."""
    if np.isin(scores, (0, 1)).all():
        interval = count_interval(int(scores.sum()), len(scores), "wilson")
    else:
        interval = bootstrap_interval([scores], np.mean)
    return Estimate(float(scores.mean()), interval, len(scores), chance)


def decode(
    features: np.ndarray, labels: np.ndarray, folds: int = 5, penalty: float = 0.1, seed: int = 0
) -> Estimate | None:
    """Cross-validated accuracy of a linear classifier.

    The classifier is ridge regression onto one indicator per label, in closed form. Folds are
    stratified by label.

    Args:
        features: Memory of each episode, [n, f].
        labels: Label of each episode, [n].
        folds: Number of folds; fewer, if a label is rare.
        penalty: Ridge penalty per feature, on standardised features.
        seed: Seed of the assignment to folds.

    Returns:
        The accuracy on held-out episodes; None if there are too few episodes or labels.
    """
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    folds = min(folds, int(counts.min()))
    if len(names) < 2 or folds < 2:
        return None
    fold = np.empty(len(codes), np.int64)
    generator = np.random.default_rng(seed)
    for code in range(len(names)):
        own = generator.permutation(np.flatnonzero(codes == code))
        fold[own] = np.arange(len(own)) % folds
    correct = np.zeros(len(codes), bool)
    for number in range(folds):
        test = fold == number
        known = features[~test], codes[~test]
        correct[test] = _classified(*known, features[test], len(names), penalty) == codes[test]
    return estimate(correct, float(counts.max() / counts.sum()))


def _classified(
    known: np.ndarray, codes: np.ndarray, new: np.ndarray, labels: int, penalty: float
) -> np.ndarray:
    """Labels of `new` features by ridge regression on the `known` ones, in the dual form, because
    there may be more features than episodes."""
    middle, scale = known.mean(0), known.std(0)
    # Equal memories differ in the last digits by rounding, which must not become features.
    varied = scale > 1e-5 * (1 + np.abs(middle))
    if not varied.any():
        return np.zeros(len(new), np.int64)
    known, new = (
        ((each - middle)[:, varied] / scale[varied]).astype(np.float64) for each in (known, new)
    )
    width = known.shape[1]
    targets = np.eye(labels)[codes]
    weights = np.linalg.solve(
        known @ known.T / width + penalty * np.eye(len(known)), targets - targets.mean(0)
    )
    answer: np.ndarray = np.argmax(new @ known.T / width @ weights, 1)
    return answer


def principal_components(features: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Projections of features on their directions of largest variance.

    The sign of each direction makes its largest projection positive, so that equal features give
    equal figures.

    Args:
        features: Memory of each episode and step, [n, f].
        count: Number of directions.

    Returns:
        Projections [n, count], and the fraction of the variance in each direction.
    """
    centred = (features - features.mean(0)).astype(np.float64)
    # The n x n form: with a cache there are more features than memories.
    vectors, values, _ = np.linalg.svd(centred @ centred.T, hermitian=True)
    projections = vectors[:, :count] * np.sqrt(np.maximum(values[:count], 0.0))
    projections *= np.where(
        projections[np.abs(projections).argmax(0), np.arange(projections.shape[1])] < 0, -1.0, 1.0
    )
    return projections, values[:count] / max(float(values.sum()), 1e-12)
