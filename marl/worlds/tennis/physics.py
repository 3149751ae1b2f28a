"""The game of Unity's Tennis, in the version of the deep reinforcement learning course, in two
dimensions.

A step is five ticks of 0.02 s. Each tick has this order: rackets follow their actions, the ball is
slowed to at most 9 m/s along either axis, gravity acts, rackets hit the ball, everything moves, and
the rules are applied. Units are metres, seconds, kilogrammes; x points right, y up. The numbers are
those of the prefab and scripts of Unity-Technologies/ml-agents (2018), checked against printed
transitions of the original. One number is open: see `zone` in world.py. The racket's material would
let it bounce from floor and walls, but printed rackets rest there.

Player 0 is on the left. Quantities that are the same for both players are computed in the player's
own frame: x is mirrored for player 1, so the net is always ahead, at x = 0.
"""

import math

from numba import njit

from marl.worlds.compiled.cache import kernel
from marl.worlds.compiled.random import Random, uniform

TICKS, TICK = 5, 0.02
GRAVITY = 9.81

FLOOR = -3.25  # its top
WALL = 12.27  # the inner face of the walls behind the players
NET_TOP, NET_HALF = -1.0, 0.05

RADIUS, BALL_MASS, BALL_SPEED = 0.5, 0.75, 9.0  # at most this fast along either axis

NORMAL = (math.cos(math.radians(55)), math.sin(math.radians(55)))  # of the face, up and ahead
BEHIND = 0.5  # the middle of the box is so far behind the racket's position, along the normal
HALF_THICK, HALF_LONG = 0.55, 0.9375
RACKET_MASS = 4.0
_REACH_BACK = BEHIND * NORMAL[0] + HALF_THICK * NORMAL[0] + HALF_LONG * NORMAL[1]
_REACH_DOWN = BEHIND * NORMAL[1] + HALF_THICK * NORMAL[1] + HALF_LONG * NORMAL[0]
REST = FLOOR + _REACH_DOWN  # -1.852: a racket that stands on the floor
BACK = _REACH_BACK - WALL  # -10.90: one with its back to the wall
FRONT = -1.0  # no racket comes closer to the net

RUN, JUMP, CAN_JUMP = 30.0, 7.0, -1.5  # m/s, m/s, from at most this height

BOUNCE = 2.0  # m/s: what meets more slowly than that does not bounce (Unity's threshold)
CONTACT = 0.02  # how near is touching
PUSH = 10.0  # m/s, at most, out of each other

OVER, FAULT = 0.1, -0.01  # rewards


@njit
def collide(racket, ball, side):
    """Let one racket hit the ball if they touch; return whether they do. `side` is 1.0 on the left,
    -1.0 on the right; racket and ball are [x, y, vx, vy]. The collision is elastic, without
    friction; rackets do not turn."""
    nx, ny = NORMAL
    # The ball in the frame of the box: along the normal and along the face.
    x = side * (ball[0] - racket[0]) + BEHIND * nx
    y = ball[1] - racket[1] + BEHIND * ny
    across, along = x * nx + y * ny, x * ny - y * nx
    gap_across, gap_along = abs(across) - HALF_THICK, abs(along) - HALF_LONG
    if gap_across > RADIUS + CONTACT or gap_along > RADIUS + CONTACT:
        return False
    if gap_across > 0.0 and gap_along > 0.0:  # a corner is nearest
        away = math.hypot(gap_across, gap_along)
        gap, ax, al = away, gap_across / away, gap_along / away
    elif gap_across >= gap_along:  # a face
        gap, ax, al = gap_across, 1.0, 0.0
    else:  # an end
        gap, ax, al = gap_along, 0.0, 1.0
    gap -= RADIUS
    if gap > CONTACT:
        return False
    ax, al = math.copysign(ax, across), math.copysign(al, along)
    # From the racket to the ball, in the court.
    ux, uy = side * (ax * nx + al * ny), ax * ny - al * nx
    closing = -((ball[2] - racket[2]) * ux + (ball[3] - racket[3]) * uy)
    if closing > 0.0:
        bounce = 2.0 if closing > BOUNCE else 1.0
        impulse = bounce * closing / (1.0 / BALL_MASS + 1.0 / RACKET_MASS)
        ball[2] += impulse / BALL_MASS * ux
        ball[3] += impulse / BALL_MASS * uy
        racket[2] -= impulse / RACKET_MASS * ux
        racket[3] -= impulse / RACKET_MASS * uy
    out = min(max(-gap, 0.0), PUSH * TICK)
    ball[0] += out * ux
    ball[1] += out * uy
    return True


@njit
def steer(racket, run, jump, side):
    """Run at `run` of full speed towards the net; jump if `jump` is set and the racket is on the
    floor."""
    racket[0] = side * min(side * racket[0], FRONT)
    racket[2] = side * RUN * run
    if jump and racket[1] < CAN_JUMP:
        racket[3] = JUMP


@njit
def move(racket, side):
    """Move for one tick. Floor and wall stop a racket."""
    racket[0] += racket[2] * TICK
    racket[1] += racket[3] * TICK
    if racket[1] < REST:
        racket[1], racket[3] = REST, 0.0
    if side * racket[0] < BACK:
        racket[0], racket[2] = side * BACK, 0.0


@njit
def touches_net(ball):
    """Whether the ball touches the net."""
    up = max(ball[1] - NET_TOP, 0.0)
    aside = max(abs(ball[0]) - NET_HALF, 0.0)
    return up * up + aside * aside < RADIUS * RADIUS


@njit
def fault(ball, last):
    """The player at fault for the position of the ball: 0, 1 or, while play goes on, -1."""
    if ball[1] < FLOOR + RADIUS:
        return 0 if ball[0] < 0.0 else 1
    if abs(ball[0]) > WALL - RADIUS or touches_net(ball):
        return 0 if last == 0 else 1
    return -1


@njit
def above_net(ball, zone):
    """Whether the ball is above the net, so that it will have crossed the net when it leaves."""
    return abs(ball[0]) < zone and NET_TOP - RADIUS < ball[1] < 9.0 + RADIUS


@njit
def serve(rackets, ball, random):
    """Drop the ball on the side of one player. Both players stand near the middle of their
    sides."""
    for player in range(2):
        side = 1.0 - 2.0 * player
        rackets[player, 0] = -side * uniform(random, 6.0, 8.0)
        rackets[player, 1] = -1.5
        rackets[player, 2:] = 0.0
    side = 1.0 if uniform(random, 0.0, 1.0) < 0.5 else -1.0
    ball[0] = side * uniform(random, 6.0, 8.0)
    ball[1] = 6.0
    ball[2:] = 0.0


@njit
def play(rackets, ball, last, over, actions, reward, legacy, zone):
    """One step of one court. Returns the last player that hit the ball (-1: none), whether the ball
    is above the net, and whether the rally is over."""
    reward[:] = 0.0
    for _ in range(TICKS):
        for player in range(2):
            side = 1.0 - 2.0 * player
            run = min(max(actions[player, 0], -1.0), 1.0)
            steer(rackets[player], run, actions[player, 1] > 0.5, side)
        for axis in range(2, 4):
            ball[axis] = min(max(ball[axis], -BALL_SPEED), BALL_SPEED)
        ball[3] -= GRAVITY * TICK
        for player in range(2):
            rackets[player, 3] -= GRAVITY * TICK
        for player in range(2):
            if collide(rackets[player], ball, 1.0 - 2.0 * player):
                last = player
        for player in range(2):
            move(rackets[player], 1.0 - 2.0 * player)
        ball[0] += ball[2] * TICK
        ball[1] += ball[3] * TICK

        was, over = over, above_net(ball, zone)
        if was and not over:
            if legacy:  # for any hitter, and either way that it leaves
                reward[0 if last == 0 else 1] += OVER
                last = 0
            elif last >= 0 and (ball[0] > 0.0) == (last == 0):
                reward[last] += OVER
        loser = fault(ball, last)
        if loser >= 0:
            reward[loser] += FAULT
            reward[1 - loser] = 0.0
            return last, over, True
    return last, over, False


@njit
def look(rackets, ball, frames, legacy):
    """Append the current observations of both players to frames f32[2, F, 8]: racket x, y, vx, vy
    and ball x, y, vx, vy, with x ahead. With `legacy` the racket's velocity is in both places."""
    last = frames.shape[1] - 1
    for player in range(2):
        for f in range(last):
            for k in range(8):
                frames[player, f, k] = frames[player, f + 1, k]
        side = 1.0 - 2.0 * player
        for k in range(4):
            mirror = side if k % 2 == 0 else 1.0
            own = rackets[player, k]
            frames[player, last, k] = mirror * own
            frames[player, last, 4 + k] = mirror * (own if legacy and k > 1 else ball[k])


@kernel
def reset_courts(rackets, ball, last, over, frames, keys, draws, begin, legacy):
    """Serve on all courts where `begin`, bool[E]; arrays as in `step_courts`."""
    for court in range(len(begin)):
        if begin[court]:
            serve(rackets[court], ball[court], Random(keys, draws, court))
            last[court] = -1
            over[court] = False
            frames[court] = 0.0
            look(rackets[court], ball[court], frames[court], legacy)


@kernel
def step_courts(rackets, ball, last, over, frames, ended, actions, reward, legacy, zone):
    """One step of all courts with a rally, in place: rackets f64[E, 2, 4] and ball f64[E, 4], each
    x, y, vx, vy; last i8[E]; over, ended bool[E]; frames f32[E, 2, F, 8]; actions f32[E, 2, 2],
    reward f32[E, 2]."""
    for court in range(len(ball)):
        if ended[court]:
            reward[court] = 0.0
        else:
            last[court], over[court], ended[court] = play(
                rackets[court], ball[court], last[court], over[court], actions[court],
                reward[court], legacy, zone,
            )  # fmt: skip
        look(rackets[court], ball[court], frames[court], legacy)
