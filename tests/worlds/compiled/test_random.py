"""Random streams: even, independent, and each world's own."""

import numpy as np
from numba import njit

from marl.worlds.compiled.random import Random, stream_keys, uniform


@njit
def fill(keys, draws, world, low, high, out):
    for i in range(len(out)):
        out[i] = uniform(Random(keys, draws, world), low, high)


def numbers(seed, num_worlds, world, count, low=0.0, high=1.0):
    out = np.empty(count)
    draws = np.zeros(num_worlds, np.uint64)
    fill(stream_keys(seed, num_worlds), draws, world, low, high, out)
    assert draws[world] == count
    assert draws.sum() == count
    return out


def chi_square(values, cells):
    counts = np.bincount((values * cells).astype(int), minlength=cells)
    expected = len(values) / cells
    return float(((counts - expected) ** 2 / expected).sum())


def test_numbers_are_uniform():
    """Chi-square over 100 cells has mean 99 and deviation 14; moments as those of [0, 1)."""
    values = numbers(0, 4, 1, 200_000)
    assert 0 <= values.min() < 1e-4
    assert 1 - 1e-4 < values.max() < 1
    assert 45 < chi_square(values, 100) < 160
    assert abs(values.mean() - 1 / 2) < 0.003
    assert abs(values.var() - 1 / 12) < 0.001


def test_successive_numbers_are_independent():
    values = numbers(7, 1, 0, 200_000)
    pairs = (values[:-1:2] * 10).astype(int) * 10 + (values[1::2] * 10).astype(int)
    assert 45 < chi_square((pairs + 0.5) / 100, 100) < 160
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.01


def test_first_numbers_of_all_worlds_and_seeds_are_uniform():
    """Streams that begin alike would show here."""
    worlds = np.array([numbers(3, 2000, world, 1)[0] for world in range(2000)])
    seeds = np.array([numbers(seed, 1, 0, 1)[0] for seed in range(2000)])
    for values in (worlds, seeds):
        assert len(np.unique(values)) == 2000
        assert chi_square(values, 20) < 50


def test_streams_differ_and_do_not_depend_on_the_worlds_beside():
    ours = numbers(5, 3, 2, 100)
    assert np.array_equal(ours, numbers(5, 50, 2, 100))
    assert not np.isin(ours, numbers(5, 3, 1, 100)).any()
    assert not np.isin(ours, numbers(6, 3, 2, 100)).any()


def test_limits():
    values = numbers(1, 1, 0, 1000, -2.0, 3.0)
    np.testing.assert_allclose(values, -2 + 5 * numbers(1, 1, 0, 1000))
    assert values.min() >= -2
    assert values.max() < 3
