"""The compiled kernels of a particle world: step, observe, reset, neighbours."""

from collections import namedtuple
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba import njit

from marl.worlds.compiled.cache import announced, kernel
from marl.worlds.compiled.faults import NUMBA_ERRORS, fault
from marl.worlds.compiled.random import Random
from marl.worlds.particles.lane_arrays import borrow, from_worlds, load, one_world, store, to_worlds
from marl.worlds.particles.lanes import WIDTH, inline, maximum, minimum
from marl.worlds.particles.layout import MOVES, Bodies, Square
from marl.worlds.particles.neighbours import block, fill_cells, nearest
from marl.worlds.particles.physics import advance

NEAR_ROWS = 64  # the largest number of neighbours that can be asked for


State = namedtuple(
    "State", "agents landmarks messages goals acceleration half_size discrete semi_implicit"
)
"""All worlds, as in `Square`, the arrays with blocks before the rest; acceleration [n]; are actions
discrete, and is the integration semi-implicit."""


@inline
def _rows(state, count):
    """Scratch: `count` rows of lanes, rounded up as `to_worlds` wants it."""
    count = -(-count // WIDTH) * WIDTH
    return np.zeros((count,) + state.agents.position.shape[3:], state.agents.position.dtype)


@inline
def _near(bodies):
    """Scratch for `nearest`."""
    return np.empty((NEAR_ROWS,) + bodies.position.shape[2:], bodies.position.dtype)


@inline
def _square(state, b, near):
    return Square(
        block(state.agents, b),
        block(state.landmarks, b),
        borrow(state.messages)[b],
        borrow(state.goals)[b],
        borrow(near),
        state.half_size,
    )


@inline
def _sort(cells, position):
    if cells is not None:
        fill_cells(cells, position)


@kernel
def step_blocks(
    scenario, state, moving, chosen, actions, observations, reward, metrics, first, last
):
    """In the chosen blocks of first..last - 1: act, move and score if `moving`; then observe.

    actions, observations: a tuple of [E, n_g, size] for the groups; reward [E, 1, n]; metrics [M,
    blocks] + lanes. (Steps and observations after a reset share one kernel, so that it compiles
    once.)
    """
    force, near = np.empty_like(state.agents.position[0]), _near(state.agents)
    rewards, values = _rows(state, reward.shape[2]), _rows(state, metrics.shape[0])
    size = 0
    for group in observations:
        size = max(size, group.shape[2])
    out = _rows(state, size)
    size = 0
    for group in actions:
        size = max(size, group.shape[2])
    action = np.zeros(
        (1, size) + force.shape[2:], force.dtype
    )  # lanes without a world stay at rest
    for b in range(first, last):
        if not chosen[b]:
            continue
        world = _square(state, b, near)
        if moving:
            _act(actions, b, state, borrow(action), world, force)
            _sort(world.agents.cells, world.agents.position)
            advance(world.agents, world.landmarks, borrow(force), state.semi_implicit)
        _sort(world.agents.cells, world.agents.position)
        _sort(world.landmarks.cells, world.landmarks.position)
        _look(scenario, world, b, borrow(out), observations)
        if moving:
            scenario.score(world, borrow(rewards), borrow(values))
            to_worlds(rewards, reward, b, 0)
            for m in range(metrics.shape[0]):
                store(metrics, (m, b), load(values, m))


@inline
def _act(actions, b, state, action, world, force):
    """Turn actions, clipped to their bounds, into forces and messages."""
    discrete = state.discrete
    force[:] = 0.0
    i = 0
    for group in actions:
        size = group.shape[2]
        for a in range(group.shape[1]):
            from_worlds(group, b, a, action, 0)
            at = 0
            if world.agents.movable[i]:
                at = MOVES if discrete else 2
                for c in range(2):
                    if discrete:
                        push = _clipped(action, 2 * c + 2, 0.0) - _clipped(action, 2 * c + 1, 0.0)
                    else:
                        push = _clipped(action, c, -1.0)
                    store(force, (i, c), push * state.acceleration[i])
            for c in range(size - at):
                if discrete:
                    store(world.messages, (i, c), _clipped(action, at + c, 0.0))
                else:
                    store(world.messages, (i, c), 0.5 + 0.5 * _clipped(action, at + c, -1.0))
            i += 1


@inline
def _clipped(action, c, low):
    return minimum(maximum(load(action, (0, c)), low), 1.0)


@inline
def _look(scenario, world, b, out, observations):
    """Observe in block b and write each world's rows into [E, n_g, O_g]."""
    i = 0
    for group in observations:
        for a in range(group.shape[1]):
            scenario.observe(world, i, out)
            to_worlds(out, group, b, a)
            i += 1


@kernel
def find_neighbours(agents, others, alike, numbers):
    """The numbers, as floats, of the `others` nearest to each agent: [E, n, count]. `alike`: the
    others are the agents themselves, and no agent is its own neighbour."""
    near, count = _near(agents), numbers.shape[2]
    out = np.zeros((NEAR_ROWS,) + agents.position.shape[3:], agents.position.dtype)
    for b in range(agents.position.shape[0]):
        position, bodies = borrow(agents.position)[b], block(others, b)
        _sort(bodies.cells, bodies.position)
        for i in range(position.shape[0]):
            x, y = load(position, (i, 0)), load(position, (i, 1))
            nearest(bodies, x, y, i if alike else -1, count, borrow(near))
            for k in range(count):
                store(out, k, load(near, (k, 1)))
            to_worlds(out, numbers, b, i)


@kernel
def reset_worlds(scenario, state, mask, keys, draws):
    """Start new episodes in the worlds of `mask`, one world at a time."""
    for e in range(len(mask)):
        if mask[e]:
            agents, landmarks = _of_world(state.agents, e), _of_world(state.landmarks, e)
            messages, goals = one_world(state.messages, e), one_world(state.goals, e)
            agents.velocity[:] = 0.0
            messages[:] = 0.0
            near = np.empty((NEAR_ROWS, 2), agents.position.dtype)
            world = Square(agents, landmarks, messages, goals, near, state.half_size)
            scenario.reset(world, Random(keys, draws, e))


@njit
def _of_world(bodies, e):
    return Bodies(
        one_world(bodies.position, e),
        one_world(bodies.velocity, e),
        bodies.radius,
        bodies.largest,
        bodies.mass,
        bodies.max_speed,
        bodies.collides,
        bodies.movable,
        None,
    )


class Compiled:
    """One kernel, called without looking up its types again: they never change for a world.
    `methods` are those of the scenario that it calls, `what` is the scenario's name."""

    def __init__(
        self, dispatcher: Any, methods: Sequence[FunctionType] = (), what: str = ""
    ) -> None:
        self._dispatcher, self._methods, self._what = dispatcher, methods, what
        self._entry: Callable[..., None] | None = None

    def prepare(self, *args: Any) -> Callable[..., None]:
        """Compile for arguments of these types, or load the compiled kernel. Returns the function
        to call. Raises UserError for a fault in a scenario of the user's own."""
        entry = self._entry
        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            entry = self._dispatcher
        elif entry is None:
            signature = tuple(numba.typeof(arg) for arg in args)
            try:
                with announced(self._what):
                    self._dispatcher.compile(signature)
            except NUMBA_ERRORS as error:
                raise fault(error, self._methods) from None
            entry = self._dispatcher.overloads[signature].entry_point
        self._entry = entry
        return entry

    def __call__(self, *args: Any) -> None:
        entry = self._entry
        if entry is None:
            entry = self.prepare(*args)
        entry(*args)
