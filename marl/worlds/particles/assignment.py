"""Optimal assignment: agents to landmarks with the smallest sum of distances."""

import numpy as np
from numba import njit

from marl.worlds.compiled.cache import kernel
from marl.worlds.particles.lane_arrays import element, load, put_element, store
from marl.worlds.particles.lanes import width


@njit
def assign(cost):
    """Minimum-cost matching of rows to columns, by shortest augmenting paths with potentials
    (Hungarian method; O(rows^2 * columns)).

    cost: [rows, columns], rows <= columns. Returns i64[rows], the column of each row. If a cost is
    not finite, the matching is arbitrary.
    """
    rows, columns = cost.shape
    row_price = np.zeros(rows)
    column_price = np.zeros(columns)
    owner = np.full(columns, -1)  # the row that holds each column
    previous = np.empty(columns, np.int64)  # the column before, on the cheapest path found
    path_cost = np.empty(columns)
    done = np.empty(columns, np.bool_)
    for new_row in range(rows):
        path_cost[:] = np.inf
        done[:] = False
        previous[:] = -1  # stays so where a cost is not finite
        row, column, length = new_row, -1, 0.0
        while row >= 0:  # grow the cheapest alternating path until it ends at a free column
            best = -1
            for c in range(columns):
                if done[c]:
                    continue
                reached = length + cost[row, c] - row_price[row] - column_price[c]
                if reached < path_cost[c]:
                    path_cost[c] = reached
                    previous[c] = column
                if best < 0 or path_cost[c] < path_cost[best]:
                    best = c
            column, length = best, path_cost[best]
            done[column] = True
            row = owner[column]
        row_price[new_row] += length
        for c in range(columns):
            if done[c] and c != column:
                row_price[owner[c]] += length - path_cost[c]
                column_price[c] -= length - path_cost[c]
        while column >= 0:  # hand every column on the path to the row before it
            before = previous[column]
            owner[column] = owner[before] if before >= 0 else new_row
            column = before
    match = np.full(rows, -1)
    for c in range(columns):
        if owner[c] >= 0:
            match[owner[c]] = c
    return match


@njit
def assigned_distances(agents, landmarks, distance):
    """For each agent, the distance to its landmark under the assignment with the smallest sum, into
    distance [n] + lanes. If there are fewer landmarks, agents without one have 0."""
    n, m = agents.position.shape[0], landmarks.position.shape[0]
    few, many = min(n, m), max(n, m)
    cost = np.empty((few, many))
    for i in range(n):
        store(distance, i, 0.0)
    for w in range(width(load(distance, 0))):
        for i in range(n):
            for j in range(m):
                dx = element(landmarks.position, (j, 0), w) - element(agents.position, (i, 0), w)
                dy = element(landmarks.position, (j, 1), w) - element(agents.position, (i, 1), w)
                if n <= m:
                    cost[i, j] = np.sqrt(dx * dx + dy * dy)
                else:
                    cost[j, i] = np.sqrt(dx * dx + dy * dy)
        match = assign(cost)
        for a in range(few):
            put_element(distance, a if n <= m else match[a], w, cost[a, match[a]])


@njit
def match(agents, landmarks):
    """i64[n]: each agent's landmark under the optimal assignment, -1 for agents without one."""
    n, m = len(agents), len(landmarks)
    cost = np.empty((min(n, m), max(n, m)))
    for i in range(n):
        for j in range(m):
            dx, dy = agents[i, 0] - landmarks[j, 0], agents[i, 1] - landmarks[j, 1]
            if n <= m:
                cost[i, j] = np.sqrt(dx * dx + dy * dy)
            else:
                cost[j, i] = np.sqrt(dx * dx + dy * dy)
    owner = assign(cost)
    if n <= m:
        return owner
    landmark = np.full(n, -1)
    for j in range(m):
        landmark[owner[j]] = j
    return landmark


@kernel
def matched(agents, landmarks):
    """i64[E, n]: `match` in each of E worlds."""
    landmark = np.empty(agents.shape[:2], np.int64)
    for e in range(len(agents)):
        landmark[e] = match(agents[e], landmarks[e])
    return landmark
