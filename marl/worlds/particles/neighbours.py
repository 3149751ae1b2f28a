"""Nearest bodies, closest distances, overlaps.

There are two searches with equal results to the last bit. Small worlds compare all pairs, in lanes.
Large worlds sort their bodies into square cells over the spawn square and search only the cells
around. A body outside the square belongs to the nearest cell on the border. That never brings it
nearer than it is, so the search is exact everywhere. Equal distances are ordered by index.
"""

import numpy as np
from numba import njit

from marl.worlds.particles.lane_arrays import borrow, gather, load, store
from marl.worlds.particles.lanes import full_like, inline, lane, sqrt, where
from marl.worlds.particles.layout import Bodies, Cells


def new_cells(count: int, half_size: float, dtype: np.dtype) -> Cells:
    """Empty cells for `count` bodies: about one body a cell when they are spread out."""
    side = max(1, int(np.sqrt(count / 1.2)))
    return Cells(
        np.zeros(side * side + 1, np.int32),
        np.zeros(count, np.int32),
        np.zeros((count, 2), dtype),
        np.zeros(count, np.int32),
        side,
        2.0 * half_size / side,
        half_size,
    )


@inline
def block(bodies, b):
    """The bodies of block b of [blocks, n, 2] + lanes, as arrays without reference counts."""
    return Bodies(
        borrow(bodies.position)[b],
        borrow(bodies.velocity)[b],
        borrow(bodies.radius),
        bodies.largest,
        borrow(bodies.mass),
        borrow(bodies.max_speed),
        borrow(bodies.collides),
        borrow(bodies.movable),
        _borrow_cells(bodies.cells),
    )


@inline
def _borrow_cells(cells):
    if cells is None:
        return None
    return Cells(
        borrow(cells.start),
        borrow(cells.order),
        borrow(cells.position),
        borrow(cells.found),
        cells.side,
        cells.edge,
        cells.half_size,
    )


@inline
def _cell(cells, v):
    c = (v + cells.half_size) / cells.edge
    if not c > 0.0:  # below the square, or not a number
        return 0
    return cells.side - 1 if c >= cells.side else int(c)


@njit
def fill_cells(cells, position):
    """Sort the bodies at `position` [n, 2] into their cells; a counting sort, so order is kept."""
    start, side = cells.start, cells.side
    start[:] = 0
    for i in range(position.shape[0]):
        cells.found[i] = _cell(cells, position[i, 1]) * side + _cell(cells, position[i, 0])
        start[cells.found[i] + 1] += 1
    for c in range(side * side):
        start[c + 1] += start[c]
    for i in range(position.shape[0]):
        place = start[cells.found[i]]
        cells.order[place] = i
        cells.position[place, 0] = position[i, 0]
        cells.position[place, 1] = position[i, 1]
        start[cells.found[i]] += 1
    for c in range(side * side, 0, -1):
        start[c] = start[c - 1]
    start[0] = 0


# ----------------------------------------------------------------------------------------- nearest


@inline
def nearest(bodies, x, y, skip, k, near):
    """Find the k bodies nearest to (x, y), without number `skip` (-1: none is left out).

    In each row, nearest first, near[row, 0] is the squared distance and near[row, 1] the number of
    the body; inf and -1 if there are fewer than k.
    """
    for row in range(k):
        store(near, (row, 0), np.inf)
        store(near, (row, 1), -1.0)
    _nearest(bodies, bodies.cells, x, y, skip, k, near)


@inline
def _nearest(bodies, cells, x, y, skip, k, near):
    if cells is None:
        for j in range(bodies.position.shape[0]):
            if j != skip:
                dx = load(bodies.position, (j, 0)) - x
                dy = load(bodies.position, (j, 1)) - y
                _insert(near, k, dx * dx + dy * dy, j)
    else:
        _nearest_in_cells(cells, lane(x, 0), lane(y, 0), skip, k, near)


@inline
def _insert(near, k, squared, number):
    """Insert one body into the sorted rows, behind equal ones; later rows move down by one."""
    index = full_like(squared, number)
    moving = squared < 0.0  # nowhere yet
    for row in range(k):
        other = load(near, (row, 0))
        other_index = load(near, (row, 1))
        moving = moving | (squared < other)
        store(near, (row, 0), where(moving, squared, other))
        store(near, (row, 1), where(moving, index, other_index))
        squared = where(moving, other, squared)
        index = where(moving, other_index, index)


@inline
def _nearest_in_cells(cells, x, y, skip, k, near):
    """Search the three by three cells around (x, y), then ring after ring of cells, until no body
    outside them can be nearer."""
    side = cells.side
    column, row = _cell(cells, x), _cell(cells, y)
    for ring in range(1, max(side, 2)):
        left, right = max(column - ring, 0), min(column + ring, side - 1)
        for r in range(max(row - ring, 0), min(row + ring, side - 1) + 1):
            whole_row = ring == 1 or abs(r - row) == ring
            for end in range(1 if whole_row else 2):
                if whole_row:
                    first, last = left, right
                elif end == 0:
                    first, last = left, left if column - ring >= 0 else left - 1
                else:
                    first, last = right, right if column + ring < side else right - 1
                _scan(cells, r * side + first, r * side + last, x, y, skip, k, near)
        free = _distance_to_unseen(cells, column, row, ring, x, y)
        if near[k - 1, 0] < free * free * (1.0 - 1e-5):  # the margin covers float32 rounding
            return


@inline
def _distance_to_unseen(cells, column, row, ring, x, y):
    """The distance from (x, y) to the nearest cell outside the searched rings."""
    free = np.inf
    if column - ring > 0:
        free = min(free, x + cells.half_size - (column - ring) * cells.edge)
    if column + ring < cells.side - 1:
        free = min(free, (column + ring + 1) * cells.edge - cells.half_size - x)
    if row - ring > 0:
        free = min(free, y + cells.half_size - (row - ring) * cells.edge)
    if row + ring < cells.side - 1:
        free = min(free, (row + ring + 1) * cells.edge - cells.half_size - y)
    return max(free, 0.0)


@inline
def _scan(cells, first, last, x, y, skip, k, near):
    """Insert the bodies of the cells first..last, which are adjacent in memory."""
    for place in range(cells.start[first], cells.start[last + 1]):
        dx = cells.position[place, 0] - x
        dy = cells.position[place, 1] - y
        squared = dx * dx + dy * dy
        j = cells.order[place]
        if squared > near[k - 1, 0] or j == skip:
            continue
        at = k
        while at > 0 and (
            squared < near[at - 1, 0] or (squared == near[at - 1, 0] and j < near[at - 1, 1])
        ):
            at -= 1
            if at < k - 1:
                near[at + 1, 0] = near[at, 0]
                near[at + 1, 1] = near[at, 1]
            near[at, 0] = squared
            near[at, 1] = j


@inline
def closest(bodies, x, y, near):
    """The distance from (x, y) to the closest body; uses the first row of `near`."""
    return sqrt(_closest(bodies, bodies.cells, x, y, near))


@inline
def _closest(bodies, cells, x, y, near):
    if cells is None:
        squared = full_like(x, np.inf)
        for j in range(bodies.position.shape[0]):
            dx = load(bodies.position, (j, 0)) - x
            dy = load(bodies.position, (j, 1)) - y
            other = dx * dx + dy * dy
            squared = where(other < squared, other, squared)
        return squared
    nearest(bodies, x, y, -1, 1, near)
    return load(near, (0, 0))


# ---------------------------------------------------------------------------------------- overlaps


@inline
def overlaps(bodies, i):
    """The number of other bodies that overlap body i (distance below the sum of radii), in each
    lane."""
    return _overlaps(bodies, bodies.cells, i)


@inline
def _overlaps(bodies, cells, i):
    x, y = load(bodies.position, (i, 0)), load(bodies.position, (i, 1))
    total = full_like(x, 0.0)
    if cells is None:
        for j in range(bodies.position.shape[0]):
            if j != i:
                total = total + overlap(bodies, i, bodies, j)
    else:
        reach = bodies.radius[i] + bodies.largest
        for place in range(around(cells, lane(x, 0), lane(y, 0), reach)):
            j = cells.found[place]
            if j != i:
                total = total + overlap(bodies, i, bodies, j)
    return total


@inline
def overlap(bodies, i, others, j):
    """1.0 if body i and body j of `others` overlap (distance below the sum of their radii), else
    0.0."""
    reach = bodies.radius[i] + others.radius[j]
    return where(squared_distance(bodies, i, others, j) < reach * reach, 1.0, 0.0)


@inline
def squared_distance(bodies, i, others, j):
    """The squared distance of body i from body j of `others`, in each lane."""
    dx = load(others.position, (j, 0)) - load(bodies.position, (i, 0))
    dy = load(others.position, (j, 1)) - load(bodies.position, (i, 1))
    return dx * dx + dy * dy


@inline
def distance(bodies, i, others, j):
    """The distance of body i from body j of `others`, in each lane."""
    return sqrt(squared_distance(bodies, i, others, j))


@inline
def distance_to(bodies, i, others, number):
    """The distance of body i from a body of `others`; each lane has its own number."""
    dx = gather(others.position, number, 0, 0.0) - load(bodies.position, (i, 0))
    dy = gather(others.position, number, 1, 0.0) - load(bodies.position, (i, 1))
    return sqrt(dx * dx + dy * dy)


@inline
def around(cells, x, y, reach):
    """List in cells.found the bodies of all cells within `reach` of (x, y); return their number."""
    left, right = _cell(cells, x - reach), _cell(cells, x + reach)
    count = 0
    for r in range(_cell(cells, y - reach), _cell(cells, y + reach) + 1):
        first, last = r * cells.side + left, r * cells.side + right
        for place in range(cells.start[first], cells.start[last + 1]):
            cells.found[count] = cells.order[place]
            count += 1
    return count
