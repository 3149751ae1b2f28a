"""The game of PettingZoo's pistonball_v6: a row of pistons carries a ball to the left wall.

Lengths are in pixels and times in seconds, as there; x points right, y down. The ball is the only
body that moves freely. Pistons and walls are thick, axis-aligned segments, which never give way and
do not bounce (the ball's elasticity is multiplied by theirs, 0). So the ball's mass cancels out:
impulses are per unit of mass here.

The solver is that of the physics engine of the original, Chipmunk: sequential impulses with Coulomb
friction, begun with those of the previous tick, and pseudo-velocities that push overlapping bodies
apart. A piston does not move, it jumps, and then the ball is pushed out of it. The order in which
the solver visits the contacts of a tick matters if there are several. Chipmunk's order follows from
its search tree; ours is its most frequent one: pistons from right to left, then walls.
"""

import math
from collections import namedtuple

import numpy as np
from numba import njit

from marl.worlds.compiled.cache import kernel
from marl.worlds.compiled.random import Random, choice, uniform

TICK = 1 / 20
GRAVITY = 750.0

HEIGHT = 560.0  # of the picture
WALL = 40.0  # thickness of the frame around the court; so also where its left and top sides are
FLOOR = HEIGHT - WALL
WALL_HALF = 1.0  # half the thickness of a side of the court

PISTON = 40.0  # width
HEAD_HALF = 5.0  # half the thickness of a piston's head, which has round ends
LOWEST = FLOOR - 29.0  # the middle of a head; y points down
TRAVEL, JUMP = 64.0, 4.0  # how far a piston can move, altogether and at once
STARTS = 8  # heights at which a piston may start, JUMP apart from the lowest up

RADIUS = 40.0
TURNING = 2.0 / RADIUS  # change of the ball's spin by an impulse along its surface (a solid disc)
SLIDING = 1.0 / 3.0  # impulse along its surface, for each unit of velocity there
SPIN = 6.0 * math.pi  # at most, at the start
ASIDE, ABOVE = 30, 15  # how far from its usual place the ball may start
DROP = FLOOR - 23.0 - RADIUS - TRAVEL / 2 - ABOVE  # where it starts

ITERATIONS = 10  # of the solver
OVERLAP = float(np.float32(0.1))  # allowed; the engine's number
PUSH = (1.0 - 0.0001**TICK) / TICK  # velocity apart, for each unit of overlap
GRIP = 0.64  # friction of pistons and walls
REMEMBERED = 3  # ticks for which a contact's impulses are kept

GAIN, PENALTY = 100.0, 0.1  # reward for the whole way; subtracted in every step

SIDES = 4  # right, floor, left, top: the contacts after those of the pistons
MOST = 3 + SIDES  # contacts at once

Court = namedtuple("Court", "pistons ball impulses touched clock start")
"""The state of E courts with N pistons: pistons f64[E, N], y of the heads; ball f64[E, 8]: x, y,
vx, vy, spin, angle, and a velocity that only pushes it out of an overlap; impulses f64[E, N + 4, 2]
between the ball and each piston and side, across and along the ball's surface, when they last
touched, which was in the tick touched i64[E, N + 4]; clock i64[E], the present tick; start f64[E],
how far the ball had to go."""


@njit
def meet(ball, number, x0, y0, x1, y1, half, impulses, touched, now, contacts, which, count):
    """Add the contact of the ball and a thick segment, from (x0, y0) to (x1, y1), if they touch;
    return the number of contacts. A contact: normal, push, and impulses across, along and apart."""
    dx = min(max(ball[0], x0), x1) - ball[0]
    dy = min(max(ball[1], y0), y1) - ball[1]
    square = dx * dx + dy * dy
    if square >= (RADIUS + half) ** 2:
        return count
    away = math.sqrt(square)
    contact = contacts[count]
    contact[0], contact[1] = (dx / away, dy / away) if away > 0.0 else (0.0, 1.0)
    contact[2] = -PUSH * min(away - RADIUS - half + OVERLAP, 0.0)
    lasting = now - touched[number] <= REMEMBERED
    contact[3] = impulses[number, 0] if lasting else 0.0
    contact[4] = impulses[number, 1] if lasting else 0.0
    contact[5] = 0.0
    which[count] = number
    return count + 1


@njit
def find_contacts(pistons, ball, impulses, touched, now, contacts, which):
    """All contacts of the ball; return their number."""
    n = len(pistons)
    right, count = WALL + PISTON * n, 0
    last = math.floor(ball[0] / PISTON)  # the ball reaches over 3 pistons at most
    for i in range(min(last, n - 1), max(last - 3, -1), -1):
        x, y = WALL + HEAD_HALF + PISTON * i, pistons[i]
        count = meet(
            ball, i, x, y, x + PISTON - 2 * HEAD_HALF, y, HEAD_HALF,
            impulses, touched, now, contacts, which, count,
        )  # fmt: skip
    for side in range(SIDES):
        x0 = right if side == 0 else WALL
        x1 = WALL if side == 2 else right
        y0 = FLOOR if side == 1 else WALL
        y1 = WALL if side == 3 else FLOOR
        count = meet(
            ball, n + side, x0, y0, x1, y1, WALL_HALF,
            impulses, touched, now, contacts, which, count,
        )  # fmt: skip
    return count


@njit
def solve(ball, contact, friction):
    """Change the ball's velocities so that this contact is content; return whether that changed
    any."""
    nx, ny, push, across, along, apart = contact
    tx, ty = -ny, nx
    contact[5] = max(apart + push + ball[6] * nx + ball[7] * ny, 0.0)
    contact[3] = max(across + ball[2] * nx + ball[3] * ny, 0.0)
    most = friction * contact[3]
    slip = ball[2] * tx + ball[3] * ty + RADIUS * ball[4]
    contact[4] = min(max(along + SLIDING * slip, -most), most)
    across, along, apart = contact[3] - across, contact[4] - along, contact[5] - apart
    ball[2] -= across * nx + along * tx
    ball[3] -= across * ny + along * ty
    ball[4] -= TURNING * along
    ball[6] -= apart * nx
    ball[7] -= apart * ny
    return across != 0.0 or along != 0.0 or apart != 0.0


@njit
def tick(pistons, ball, impulses, touched, now, friction, contacts, which):
    """Move the ball for one tick, the `now`-th."""
    ball[0] += (ball[2] + ball[6]) * TICK
    ball[1] += (ball[3] + ball[7]) * TICK
    ball[5] += ball[4] * TICK
    ball[6] = ball[7] = 0.0
    count = find_contacts(pistons, ball, impulses, touched, now, contacts, which)
    ball[3] += GRAVITY * TICK
    for c in range(count):
        if touched[which[c]] == now - 1:
            nx, ny, _, across, along, _ = contacts[c]
            ball[2] -= across * nx - along * ny
            ball[3] -= across * ny + along * nx
            ball[4] -= TURNING * along
    for _ in range(ITERATIONS):
        changed = False
        for c in range(count):
            changed |= solve(ball, contacts[c], friction)
        if not changed:
            break
    for c in range(count):
        impulses[which[c], 0], impulses[which[c], 1] = contacts[c, 3], contacts[c, 4]
        touched[which[c]] = now


@njit
def place(ball):
    """The whole pixel at the left end of the ball, at least that of the wall."""
    return max(WALL, np.trunc(ball[0] - RADIUS))


@njit
def begin(court, e, drop, rotate, random):
    """Start an episode in court e: pistons in the lower half, the ball above those on the right."""
    pistons, ball = court.pistons[e], court.ball[e]
    for i in range(len(pistons)):
        pistons[i] = LOWEST - JUMP * choice(random, STARTS)
    ball[:] = 0.0
    ball[0] = WALL + PISTON * len(pistons) - RADIUS - ASIDE
    ball[1] = DROP
    if drop:
        ball[0] += choice(random, 2 * ASIDE + 1) - ASIDE
        ball[1] += choice(random, 2 * ABOVE + 1) - ABOVE
    ball[0] = max(ball[0], WALL + RADIUS + 1.0)
    if rotate:
        ball[4] = uniform(random, -SPIN, SPIN)
    court.touched[e] = -REMEMBERED - 1
    court.clock[e] = 0
    court.start[e] = place(ball) - WALL


@njit
def play(court, e, moves, ticks, friction, contacts, which):
    """One step of court e, with pistons moved by moves f32[N], from -1, down, to 1. Pistons move
    one after another: their moves are spread evenly over the ticks. Returns the reward and whether
    the ball has reached the left wall."""
    pistons, ball = court.pistons[e], court.ball[e]
    n = len(pistons)
    before = place(ball)
    i = 0
    for t in range(ticks):
        while i * ticks < (t + 1) * n:
            moved = pistons[i] - JUMP * min(max(moves[i], -1.0), 1.0)
            pistons[i] = min(max(moved, LOWEST - TRAVEL), LOWEST)
            i += 1
        tick(
            pistons, ball, court.impulses[e], court.touched[e], court.clock[e], friction,
            contacts, which,
        )  # fmt: skip
        court.clock[e] += 1
    after = place(ball)
    home = after + ball[2] * TICK <= WALL + 1.0
    reward = GAIN * (before - after) / court.start[e]
    return reward if home else reward - PENALTY, home


@kernel
def reset_courts(court, keys, draws, mask, drop, rotate):
    """Start new episodes in all courts where mask, bool[E], is true."""
    for e in range(len(mask)):
        if mask[e]:
            begin(court, e, drop, rotate, Random(keys, draws, e))


@kernel
def step_courts(court, moves, ended, reward, ticks, friction):
    """One step of all courts that have not `ended` (bool[E], which is renewed); moves f32[E, N],
    reward f64[E]."""
    contacts, which = np.empty((MOST, 6)), np.empty(MOST, np.int64)
    for e in range(len(ended)):
        if ended[e]:
            reward[e] = 0.0
        else:
            reward[e], ended[e] = play(court, e, moves[e], ticks, friction, contacts, which)
