"""What a few runs allow to be said: aggregates, intervals, comparisons.

Scores are f64[R, T]: R runs (seeds) on T tasks. Source: Agarwal et al. 2021, "Deep reinforcement
learning at the edge of the statistical precipice" (arXiv 2108.13264), whose library rliable gives
the same numbers.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

RESAMPLES = 2000
EXACT = 12  # the most pairs for which all sign flips are tried


def iqm(scores: np.ndarray) -> float:
    """Interquartile mean: of all scores but the lowest and the highest quarter."""
    ordered = np.sort(scores, axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def median(scores: np.ndarray) -> float:
    """Of all scores."""
    return float(np.median(scores))


def probability_of_improvement(scores: np.ndarray, others: np.ndarray) -> float:
    """How often a run has a higher score than one of the others on the same task, equal scores
    counting half; mean over the tasks."""
    higher = scores[:, None] > others[None]
    equal = scores[:, None] == others[None]
    return float((higher + 0.5 * equal).mean())


def mean(scores: np.ndarray) -> float:
    """Of all scores."""
    return float(scores.mean())


Estimate = TypeVar("Estimate", float, np.ndarray)


def interval(
    estimate: Callable[..., Estimate],
    *samples: np.ndarray,
    crossed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[Estimate, Estimate]:
    """Ends of the 95 % percentile bootstrap interval of estimate(*samples).

    Each sample is drawn anew, with replacement: runs, task by task; or, `crossed`, along each of so
    many first axes (runs f64[R, ...]; runs and episodes f64[R, E, ...]; runs, their rivals and
    episodes f64[R, S, E, ...]), the same ones for everything else, as all runs play the same
    starts."""
    if crossed:
        drawn = partial(_crossed, np.random.default_rng(0), crossed)
    else:
        drawn = partial(_by_task, np.random.RandomState(0))  # rliable draws like this, too
    estimates = [estimate(*map(drawn, samples)) for _ in range(resamples)]
    low, high = np.percentile(estimates, [2.5, 97.5], axis=0)
    return low, high


def _by_task(random: np.random.RandomState, sample: np.ndarray) -> np.ndarray:
    return sample[random.choice(len(sample), sample.shape), np.arange(sample.shape[1])]


def _crossed(random: np.random.Generator, axes: int, sample: np.ndarray) -> np.ndarray:
    return sample[np.ix_(*(random.integers(0, n, n) for n in sample.shape[:axes]))]


def paired_test(scores: np.ndarray, others: np.ndarray) -> float:
    """Two-sided p-value for equal means of scores that belong together, f64[R] each: how often the
    mean difference would be as large or larger if the sign of each were a coin's. All flips up to
    EXACT pairs, 10 000 random ones beyond."""
    difference = np.asarray(scores, float) - np.asarray(others, float)
    n = len(difference)
    if n <= EXACT:
        flips = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        flips = np.random.default_rng(0).choice([-1, 1], (10_000, n))
        flips[0] = 1  # what was seen is one of the possibilities
    means = np.abs(flips @ difference)
    return float((means >= means[0] - 1e-12).mean())
