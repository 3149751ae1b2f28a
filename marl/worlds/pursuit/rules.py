"""The rules of PettingZoo's pursuit_v5, for E grids at a time.

A step has this order: pursuers move one after the other; evaders that are caught leave; the others
move at random. Any number of pursuers and evaders can share a cell. Nothing enters a wall: the
obstacle, or a cell outside the map.

A grid is f32[Y + 2 pad, X + 2 pad, 3]: for each cell 1.0 if it is a wall, the number of pursuers,
the number of evaders. The margin is wall. So every view is a block of the grid, and no rule asks
where the map ends, except for one: a touch is felt at the cell itself where the map ends beside it.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from marl.worlds.compiled.cache import kernel
from marl.worlds.compiled.random import Random, choice, uniform

MOVES = ((-1, 0), (1, 0), (0, 1), (0, -1), (0, 0))  # left, right, up, down, stay
SIDES = MOVES[:4]
WALL, PURSUERS, EVADERS = 0, 1, 2  # the numbers of a cell
CHANNELS = 3

TRIES = 1000  # draws of a starting cell apart from one's own kind

Rules = namedtuple("Rules", "pad reach surround n_catch frozen tag catch urgency shared window")
"""pad: cells around the map; reach: cells that a pursuer sees on each side; window: the share of
the map's sides in which everything starts. The others are the settings of `Pursuit`."""


def obstacle(x_size: int, y_size: int) -> np.ndarray:
    """bool[Y, X]: the obstacle, a rectangle in the middle. It leaves free the outer 0.3 of the
    columns and the outer 0.2 of the rows."""
    x, y = np.arange(x_size) / x_size, np.arange(y_size) / y_size
    return np.outer((y > 0.2) & (y < 1.0 - 0.2), (x > 0.3) & (x < 1.0 - 0.3))


# ------------------------------------------------------------------------------------------- moving


@njit
def move(grid, place, way, kind, pad):
    """Take the move `way`, unless a wall is there."""
    x, y = place[0] + MOVES[way][0], place[1] + MOVES[way][1]
    if grid[y + pad, x + pad, WALL] == 0.0:
        grid[place[1] + pad, place[0] + pad, kind] -= 1.0
        grid[y + pad, x + pad, kind] += 1.0
        place[0], place[1] = x, y


@njit
def touched(grid, place, pad):
    """The evaders on the four cells beside this one; where the map ends, on this cell instead."""
    last_y, last_x = grid.shape[0] - 1 - pad, grid.shape[1] - 1 - pad
    total = 0.0
    for dx, dy in SIDES:
        x = min(max(place[0] + pad + dx, pad), last_x)
        y = min(max(place[1] + pad + dy, pad), last_y)
        total += grid[y, x, EVADERS]
    return total


@njit
def pursue(grid, pursuers, actions, earned, rules):
    """Move the pursuers of one grid, one after the other, by the largest numbers of their actions.
    Write into earned[k] what pursuer k gets for evaders that it touches: the mean over the times
    after each pursuer's move."""
    count = len(pursuers)
    for k in range(count):
        before = touched(grid, pursuers[k], rules.pad)
        move(grid, pursuers[k], np.argmax(actions[k]), PURSUERS, rules.pad)
        after = touched(grid, pursuers[k], rules.pad)
        earned[k] = rules.tag * (k * before + (count - k) * after) / count


# ----------------------------------------------------------------------------------------- catching


@njit
def is_caught(grid, place, rules):
    """Whether a pursuer is on every side that is no wall; without `surround`, whether enough
    pursuers are on the cell itself."""
    x, y = place[0] + rules.pad, place[1] + rules.pad
    if not rules.surround:
        return grid[y, x, PURSUERS] >= rules.n_catch
    for dx, dy in SIDES:
        if grid[y + dy, x + dx, WALL] == 0.0 and grid[y + dy, x + dx, PURSUERS] == 0.0:
            return False
    return True


@njit
def catch(grid, pursuers, evaders, free, catchers, rules):
    """Take the caught evaders of one grid from it. Set catchers[k] if pursuer k took part."""
    apart = 1 if rules.surround else 0
    catchers[:] = False
    for i in range(len(evaders)):
        if free[i] and is_caught(grid, evaders[i], rules):
            x, y = evaders[i]
            free[i] = False
            for k in range(len(pursuers)):
                if abs(pursuers[k, 0] - x) + abs(pursuers[k, 1] - y) == apart:
                    catchers[k] = True
            grid[y + rules.pad, x + rules.pad, EVADERS] -= 1.0


@njit
def reward_pursuers(earned, catchers, reward, rules):
    """Write every pursuer's reward; return the sum. A pursuer that took part in several catches is
    paid for one."""
    total = 0.0
    for k in range(len(earned)):
        earned[k] += rules.urgency
        if catchers[k]:
            earned[k] += rules.catch
        total += earned[k]
    for k in range(len(earned)):
        reward[k] = total / len(earned) if rules.shared else earned[k]
    return total


# ----------------------------------------------------------------------------------------- starting


@njit
def has_kin(grid, x, y, kind):
    """Whether some of this kind are on this cell of the grid or beside it."""
    kin = 0.0
    for dx, dy in MOVES:
        kin += grid[y + dy, x + dx, kind]
    return kin > 0.0


@njit
def scatter(grid, places, kind, corner, size, pad, random):
    """Put everybody on a random free cell of the window that has none of the kind on or beside it;
    on any free cell if none such is found. The window begins at corner (x, y)."""
    for i in range(len(places)):
        tries = 0
        while True:
            x = corner[0] + int(choice(random, size[0]))
            y = corner[1] + int(choice(random, size[1]))
            if grid[y + pad, x + pad, WALL] > 0.0:
                continue
            tries += 1
            if tries > TRIES or not has_kin(grid, x + pad, y + pad, kind):
                break
        places[i, 0], places[i, 1] = x, y
        grid[y + pad, x + pad, kind] += 1.0


@njit
def begin(grid, pursuers, evaders, rules, random):
    """Put everybody into a window at a random place of the map."""
    grid[:, :, PURSUERS] = 0.0
    grid[:, :, EVADERS] = 0.0
    start_x = uniform(random, 0.0, 1.0 - rules.window)
    start_y = uniform(random, 0.0, 1.0 - rules.window)
    x_size, y_size = grid.shape[1] - 2 * rules.pad, grid.shape[0] - 2 * rules.pad
    left, bottom = int(x_size * start_x), int(y_size * start_y)
    right, top = int(x_size * (start_x + rules.window)), int(y_size * (start_y + rules.window))
    corner, size = (left, bottom), (right - left, top - bottom)
    scatter(grid, pursuers, PURSUERS, corner, size, rules.pad, random)
    scatter(grid, evaders, EVADERS, corner, size, rules.pad, random)


# ------------------------------------------------------------------------------------- all E grids


@njit
def look(grids, pursuers, seen, rules):
    """Copy the block around every pursuer into seen f32[E, N, R * R * 3]: row after row, y up; in
    a row cell after cell; of a cell wall, pursuers, evaders."""
    side = 2 * rules.reach + 1
    shift = rules.pad - rules.reach
    width = side * CHANNELS
    rows = grids.reshape(grids.shape[0], grids.shape[1], -1)
    for e in range(len(grids)):
        for k in range(pursuers.shape[1]):
            left, bottom = (pursuers[e, k, 0] + shift) * CHANNELS, pursuers[e, k, 1] + shift
            own = seen[e, k]
            for r in range(side):
                row = rows[e, bottom + r]
                for c in range(width):  # unsigned, so that nothing is counted from the end: faster
                    own[np.uint64(r * width + c)] = row[np.uint64(left + c)]


@kernel
def reset_grids(grids, pursuers, evaders, free, keys, draws, starting, seen, rules):
    """Begin episodes on the grids where `starting`, bool[E]; look on all. Arrays as in
    `step_grids`."""
    for e in range(len(grids)):
        if starting[e]:
            free[e] = True
            begin(grids[e], pursuers[e], evaders[e], rules, Random(keys, draws, e))
    look(grids, pursuers, seen, rules)


@kernel
def step_grids(
    grids, pursuers, evaders, free, keys, draws, actions, reward, total, left, seen, rules
):
    """One step of all grids, in place: grids f32[E, Y + 2 pad, X + 2 pad, 3]; pursuers i32[E, N,
    2] and evaders i32[E, M, 2], each x, y in the map; free bool[E, M], not caught yet; actions
    f32[E, N, 5]. Results: reward f32[E, N], total f64[E], evaders left i64[E], seen as in `look`.
    """
    earned, catchers = np.empty(pursuers.shape[1]), np.empty(pursuers.shape[1], np.bool_)
    for e in range(len(grids)):
        pursue(grids[e], pursuers[e], actions[e], earned, rules)
        catch(grids[e], pursuers[e], evaders[e], free[e], catchers, rules)
        total[e] = reward_pursuers(earned, catchers, reward[e], rules)
        left[e] = 0
        for i in range(evaders.shape[1]):
            if free[e, i]:
                left[e] += 1
                if not rules.frozen:
                    way = int(choice(Random(keys, draws, e), len(MOVES)))
                    move(grids[e], evaders[e, i], way, EVADERS, rules.pad)
    look(grids, pursuers, seen, rules)


@kernel
def fill_grids(grids, pursuers, evaders, free, pad):
    """Count pursuers and free evaders into the grids."""
    grids[:, :, :, PURSUERS] = 0.0
    grids[:, :, :, EVADERS] = 0.0
    for e in range(len(grids)):
        for x, y in pursuers[e]:
            grids[e, y + pad, x + pad, PURSUERS] += 1.0
        for i in range(evaders.shape[1]):
            if free[e, i]:
                grids[e, evaders[e, i, 1] + pad, evaders[e, i, 0] + pad, EVADERS] += 1.0


@kernel
def nearest_pursuers(pursuers, numbers):
    """Write into numbers i64[E, N, K] the others nearest to each pursuer, nearest first, equal ones
    by number; -1 if there are fewer."""
    most = numbers.shape[2]
    near = np.empty(most, np.int64)
    for e in range(len(pursuers)):
        for i in range(pursuers.shape[1]):
            numbers[e, i] = -1
            known = 0
            for j in range(pursuers.shape[1]):
                dx = np.int64(pursuers[e, j, 0] - pursuers[e, i, 0])
                dy = np.int64(pursuers[e, j, 1] - pursuers[e, i, 1])
                squared = dx * dx + dy * dy
                if j == i or (known == most and (most == 0 or squared >= near[most - 1])):
                    continue
                at = min(known, most - 1)
                while at > 0 and near[at - 1] > squared:
                    near[at], numbers[e, i, at] = near[at - 1], numbers[e, i, at - 1]
                    at -= 1
                near[at], numbers[e, i, at] = squared, j
                known = min(known + 1, most)
