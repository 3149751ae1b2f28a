"""Lanes against numpy: every primitive, one lane and sixteen, float32 and float64."""

import numpy as np
import pytest

from marl.worlds.compiled.cache import kernel
from marl.worlds.particles.lane_arrays import (
    element,
    from_worlds,
    gather,
    load,
    one_world,
    put_element,
    store,
    to_worlds,
)
from marl.worlds.particles.lanes import (
    WIDTH,
    anywhere,
    full_like,
    lane,
    maximum,
    minimum,
    sqrt,
    where,
    width,
    with_lane,
)


@kernel
def arithmetic(a, out):
    x, y = load(a, (0, 0)), load(a, (1, 1))
    total = 0.0
    for i in range(a.shape[0]):
        total = total + load(a, (i, 0))
    results = (
        x + y,
        x - y,
        x * y,
        x / y,
        -x,
        2.0 * x + 1,
        1.0 - x,
        where(x < y, x, 9.0),
        where(x <= y, 1.0, 0.0),
        where(x > y, 1.0, 0.0),
        where(x >= y, 1.0, 0.0),
        where((x > 0.0) & (y > 0.0), 1.0, 0.0),
        where((x > 0.0) | (y > 0.0), 1.0, 0.0),
        minimum(x, y),
        maximum(x, -1.0),
        sqrt(x * x + y * y),
        full_like(x, 2.5),
        with_lane(x, 0, 7.0),
        full_like(x, lane(x, 0)),
        total,
    )
    at = 0
    for result in results:
        store(out, at, result)
        at += 1
    store(out, at, 3)
    out.flat[out.size - 1] = width(x)
    return anywhere(x > 1e3), anywhere(x > y)


def expected_arithmetic(a):
    x, y = a[0, 0], a[1, 1]
    changed = np.atleast_1d(x).copy()
    changed[0] = 7
    return [
        x + y,
        x - y,
        x * y,
        x / y,
        -x,
        2 * x + 1,
        1 - x,
        np.where(x < y, x, 9),
        x <= y,
        x > y,
        x >= y,
        (x > 0) & (y > 0),
        (x > 0) | (y > 0),
        np.minimum(x, y),
        np.maximum(x, -1),
        np.sqrt(x * x + y * y),
        np.full_like(x, 2.5),
        changed.reshape(x.shape),
        np.full_like(x, np.ravel(x)[0]),
        a[0, 0] + a[1, 0] + a[2, 0],
        np.full_like(x, 3),
    ]


def numbers(dtype, tail, bodies=3):
    """Signed numbers [bodies, 2] + lanes, with some that are equal."""
    a = np.random.default_rng(3).normal(size=(bodies, 2, *tail)).astype(dtype)
    a[1, 1, ...] = np.where(np.arange(a[1, 1].size).reshape(tail) % 4 == 1, a[0, 0], a[1, 1])
    return a


@kernel
def plain_python(a, out):
    """As for plain numbers: in place, equality, built-in functions."""
    x, y = load(a, (0, 0)), load(a, (1, 1))
    added, less, times, parts = 0.0, x, x, x
    for i in range(a.shape[0]):
        added += load(a, (i, 0))
        less -= load(a, (i, 1))
        times *= 2.0
        parts /= 4.0
    results = (
        added,
        less,
        times,
        parts,
        abs(x),
        min(x, y),
        max(x, 0.5),
        max(1, y),
        where(x == y, 1.0, 0.0),
        where(x != y, 1.0, 0.0),
        where(x == 3, 1.0, 0.0),
        where(not x < y, 1.0, 0.0),
        where(~(x < y), 1.0, 0.0),
    )
    at = 0
    for result in results:
        store(out, at, result)
        at = at + 1


widths = pytest.mark.parametrize("tail", [(), (WIDTH,)], ids=["one lane", "sixteen lanes"])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
compiled = pytest.mark.parametrize("run", [lambda f: f, lambda f: f.py_func], ids=["jit", "python"])


@widths
@dtypes
@compiled
def test_arithmetic_is_that_of_numpy(tail, dtype, run):
    a = numbers(dtype, tail)
    expected = expected_arithmetic(a)
    out = np.zeros((len(expected) + 1, *tail), dtype)
    nowhere, somewhere = run(arithmetic)(a, out)
    for row, value in enumerate(expected):
        np.testing.assert_array_equal(out[row], np.asarray(value, dtype), err_msg=f"row {row}")
    assert out.ravel()[-1] == (tail[0] if tail else 1)
    assert nowhere is False
    assert somewhere == bool((a[0, 0] > a[1, 1]).any())


@widths
@dtypes
def test_operators_of_plain_python(tail, dtype):
    """The same bytes as with `a = a + b`, and as numpy's."""
    a = numbers(dtype, tail)
    x, y, two = a[0, 0], a[1, 1], dtype(2)
    added, less = dtype(0), x
    for i in range(3):
        added, less = added + a[i, 0], less - a[i, 1]
    expected = [
        added,
        less,
        x * two * two * two,
        x / dtype(4) / dtype(4) / dtype(4),
        np.abs(x),
        np.minimum(x, y),
        np.maximum(x, dtype(0.5)),
        np.maximum(dtype(1), y),
        x == y,
        x != y,
        x == 3,
        ~(x < y),
        ~(x < y),
    ]
    out = np.zeros((len(expected), *tail), dtype)
    plain_python(a, out)
    for row, value in enumerate(expected):
        np.testing.assert_array_equal(out[row], np.asarray(value, dtype), err_msg=f"row {row}")


@kernel
def unequal(a, out):
    x = load(a, (0, 0))
    store(out, 0, where(x == x, 1.0, 0.0))
    store(out, 1, where(x != x, 1.0, 0.0))


@widths
def test_not_a_number_equals_nothing(tail):
    a, out = np.full((1, 1, *tail), np.nan), np.zeros((2, *tail))
    unequal(a, out)
    assert not out[0].any()
    assert out[1].all()


@kernel
def extremes(a, out):
    store(out, 0, minimum(load(a, (0, 0)), load(a, (1, 0))))
    store(out, 1, maximum(load(a, (0, 0)), load(a, (1, 0))))


@widths
@dtypes
@compiled
def test_a_nan_on_the_left_stays(tail, dtype, run):
    """So that a broken action is noticed instead of becoming -1."""
    a = np.ones((2, 1, *tail), dtype)
    a[0] = np.nan
    out = np.zeros((2, *tail), dtype)
    run(extremes)(a, out)
    assert np.isnan(out).all()


@kernel
def lookups(a, index, out):
    """A row of its own for each lane; single numbers read and written."""
    store(out, 0, gather(a, load(index, 0), 1, 5.0))
    store(out, 1, 0.0)
    w = width(load(index, 0)) - 1
    put_element(out, 1, w, element(a, (2, 1), w))


@widths
@dtypes
@compiled
def test_gather_and_single_elements(tail, dtype, run):
    a = numbers(dtype, tail, bodies=5)
    rows = np.resize([3.0, -1.0, 0.0, 4.0, 1.0], tail)
    out = np.full((2, *tail), np.nan, dtype)
    run(lookups)(a, rows.astype(dtype)[None], out)
    chosen = rows.astype(int)
    found = a[chosen, 1, np.arange(WIDTH)] if tail else a[chosen, 1]
    np.testing.assert_array_equal(out[0], np.where(rows < 0, dtype(5), found))
    last = np.zeros_like(out[1])
    last[-1 if tail else ()] = a[(2, 1, -1) if tail else (2, 1)]
    np.testing.assert_array_equal(out[1], last)


@kernel
def bring(array, b, a, brought, rows, back):
    from_worlds(array, b, a, brought, 0)
    for c in range(brought.shape[1]):
        store(rows, c, load(brought, (0, c)))
    to_worlds(rows, back, b, a)


@widths
@dtypes
@compiled
@pytest.mark.parametrize("size", [5, 16, 18])
def test_worlds_into_lanes_and_back(tail, dtype, run, size):
    """The second block of twenty worlds is only partly filled; nothing else may be touched."""
    array = np.random.default_rng(0).normal(size=(20, 3, size)).astype(dtype)
    for b in (0, 1):
        brought, back = np.zeros((1, size, *tail), dtype), np.zeros_like(array)
        rows = np.zeros((-(-size // WIDTH) * WIDTH, *tail), dtype)
        run(bring)(array, b, 1, brought, rows, back)
        worlds = slice(b * WIDTH, (b + 1) * WIDTH) if tail else b
        expected = np.zeros_like(array)
        expected[worlds, 1] = array[worlds, 1]
        np.testing.assert_array_equal(back, expected)
        there = array[worlds, 1]
        in_lanes = brought[0].T[: len(there)] if tail else brought[0]
        np.testing.assert_array_equal(in_lanes, there)


@kernel
def view_of(array, world):
    return one_world(array, world)


def test_one_world_is_a_view_without_lanes():
    packed = np.arange(2 * 3 * 2 * WIDTH, dtype=np.float32).reshape(2, 3, 2, WIDTH)
    single = packed[:, :, :, 0].copy()
    for look in (view_of, one_world):
        np.testing.assert_array_equal(look(packed, WIDTH + 5), packed[1, :, :, 5])
        np.testing.assert_array_equal(look(single, 1), single[1])
    view_of(packed, 4)[0, 0] = -1
    assert packed[0, 0, 0, 4] == -1
