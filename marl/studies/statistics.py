"""What a few runs allow to be said: aggregates, intervals, comparisons.

Scores are f64[R, T]: R runs (seeds) on T tasks. Source: Agarwal et al. 2021, "Deep reinforcement
learning at the edge of the statistical precipice" (arXiv 2108.13264), whose library rliable gives
the same numbers.
"""

from collections.abc import Callable

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


def interval(
    estimate: Callable[..., float], *samples: np.ndarray, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of estimate(*samples): runs are drawn anew, with
    replacement, task by task, in each of the samples."""
    draw = np.random.RandomState(0).choice  # rliable draws like this, too
    estimates = [
        estimate(*[s[draw(len(s), s.shape), np.arange(s.shape[1])] for s in samples])
        for _ in range(resamples)
    ]
    low, high = np.percentile(estimates, [2.5, 97.5])
    return float(low), float(high)


def median_interval(
    values: np.ndarray, resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray] | None:
    """Ends f64[M] of 95 % percentile bootstrap intervals of a median over runs of means over
    episodes; values f64[R, E, M] of M measures. Runs are drawn anew, with replacement, and so are
    episodes: the same ones for all runs, as these play the same starts. None for a single episode
    of a single run."""
    runs, episodes, _ = values.shape
    if runs * episodes == 1:
        return None
    draw = np.random.default_rng(0).integers
    estimates = [
        np.median(values[draw(runs, size=runs)][:, draw(episodes, size=episodes)].mean(1), axis=0)
        for _ in range(resamples)
    ]
    low, high = np.percentile(estimates, [2.5, 97.5], axis=0)
    return low, high


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


def crossed_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of f64[R, S, E]: the runs of either side
    and the episodes, which are the same for all pairs, are drawn anew."""
    random = np.random.default_rng(0)
    means = np.empty(RESAMPLES)
    for b in range(RESAMPLES):
        r, s, e = (random.integers(0, n, n) for n in values.shape)
        means[b] = values[np.ix_(r, s)].mean((0, 1))[e].mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
