"""ParticleWorld: any scenario, in E worlds at once.

Small worlds lie sixteen abreast, one per lane, in arrays [block, body, axis, lane]; large ones one
after another in [world, body, axis], with cells for the neighbour search. Scenario and physics are
the same source for both, and the results are equal to the last bit.
"""

import itertools
import string
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np

from marl.values import checked_seed
from marl.worlds.base import Arrays, Neighbours, Step, World, checked_actions
from marl.worlds.compiled.random import stream_keys
from marl.worlds.particles.kernels import (
    NEAR_ROWS,
    Compiled,
    State,
    find_neighbours,
    reset_worlds,
    step_blocks,
)
from marl.worlds.particles.lanes import WIDTH
from marl.worlds.particles.layout import Blocks, Bodies, Rules
from marl.worlds.particles.neighbours import new_cells
from marl.worlds.scene import Scene

CELLS_FROM = 448  # agents; measured by benchmarks/simulator.py --crossover
LETTERS = string.ascii_uppercase  # for messages in captions
MOST_SPEAKERS = 6  # in a caption


# ------------------------------------------------------------------------------------------- world


class ParticleWorld(World):
    """E particle worlds that follow one scenario.

    Parameters: the scenario; num_worlds E; seed, from which every random stream derives; dtype
    float32, or float64 for comparisons; num_threads, over which the worlds are shared out (results
    do not depend on it); search "lanes", "cells" or "auto" (by the number of agents); staggered:
    first episodes are cut short by different amounts, so that worlds do not all end at once.
    """

    def __init__(
        self,
        scenario: Rules,
        num_worlds: int = 1,
        seed: int = 0,
        *,
        dtype: type = np.float32,
        num_threads: int = 1,
        search: Literal["auto", "lanes", "cells"] = "auto",
        staggered: bool = False,
    ) -> None:
        if num_worlds < 1:
            raise ValueError(f"num_worlds is {num_worlds}: at least 1 is needed")
        self.scenario = scenario
        self.groups, self.events = scenario.groups, scenario.events
        self.num_worlds = num_worlds
        self.dtype = np.dtype(dtype)
        self._staggered = staggered
        if search == "auto":
            lanes_for_each = -(-num_worlds // WIDTH) * WIDTH / num_worlds  # empty ones cost as much
            crowded = len(scenario.agents) * lanes_for_each >= CELLS_FROM
            search = "cells" if crowded else "lanes"
        self._blocks = blocks = Blocks(num_worlds, WIDTH if search == "lanes" else 1, self.dtype)
        self._agents = blocks.bodies(scenario.agents)
        self._landmarks = blocks.bodies(scenario.landmarks)
        self._messages = blocks.zeros(len(scenario.agents), scenario.message_size)
        self._goals = blocks.zeros(scenario.num_goals, 1)

        shares = np.linspace(0, blocks.count, min(num_threads, blocks.count) + 1).astype(int)
        self._ranges = [(int(a), int(b)) for a, b in itertools.pairwise(shares)]
        self._states = [self._with_scratch() for _ in self._ranges]
        self._pool = ThreadPoolExecutor(len(self._ranges)) if len(self._ranges) > 1 else None
        rules: Any = type(scenario)
        self._step = Compiled(step_blocks, [rules.observe, rules.score], rules.__name__)
        self._reset = Compiled(reset_worlds, [rules.reset], rules.__name__)
        self._neighbours = Compiled(find_neighbours)

        self._keys = stream_keys(checked_seed(seed), num_worlds)
        self._draws = np.zeros(num_worlds, np.uint64)
        self._elapsed = np.zeros(num_worlds, np.int64)
        self._observation: Arrays = {}  # empty until the first reset
        # Found once: to find them in every step would take longer than to step a small world.
        self._observed = self._shapes("observation_space")
        self._acted = self._shapes("action_space")
        ends = np.cumsum([len(group) for group in self.groups.values()]).tolist()
        starts = [0, *ends[:-1]]
        self._columns = dict(zip(self.groups, map(slice, starts, ends), strict=True))
        self._every_block = np.ones(blocks.count, bool)
        self._no_actions = tuple(self._new_arrays(self._acted).values())
        self._never = self._constant(False)
        self._always = self._constant(True)

    def _with_scratch(self) -> State:
        """The state as one thread sees it, with cells of its own to sort into."""
        agents, landmarks, half_size = self._agents, self._landmarks, float(self.scenario.half_size)
        if self._blocks.lanes == 1:
            agents, landmarks = (
                bodies._replace(cells=new_cells(len(bodies.radius), half_size, self.dtype))
                for bodies in (agents, landmarks)
            )
        acceleration = np.array([b.acceleration for b in self.scenario.agents], self.dtype)
        return State(
            agents,
            landmarks,
            self._messages,
            self._goals,
            acceleration,
            half_size,
            self.scenario.actions == "discrete",
            self.scenario.integration == "semi_implicit",
        )

    def _constant(self, value: bool) -> Arrays:
        arrays = {
            g: np.full((self.num_worlds, len(group)), value) for g, group in self.groups.items()
        }
        for array in arrays.values():
            array.flags.writeable = False
        return arrays

    # ---------------------------------------------------------------------------------- the episode

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        first = not self._observation
        if mask is not None:
            found = np.asarray(mask)
            if found.shape != (self.num_worlds,) or found.dtype != np.bool_:
                raise ValueError(
                    f"the mask of reset() is {found.dtype}{list(found.shape)}; "
                    f"bool[{self.num_worlds}] is needed, one for each world"
                )
        if mask is None or first:
            mask = np.ones(self.num_worlds, bool)
        if mask.any():
            self._reset(self.scenario, self._states[0], mask, self._keys, self._draws)
            self._elapsed[mask] = 0
            if first and self._staggered:
                length, worlds = self.scenario.episode_length, self.num_worlds
                self._elapsed[:] = np.arange(worlds) * length // worlds
            self._look(mask)
        return self._observation

    def reseed(self, seeds: Sequence[int]) -> None:
        """As `World.reseed`."""
        if len(seeds) != self.num_worlds:
            raise ValueError(f"{len(seeds)} seeds are given for {self.num_worlds} worlds")
        self._keys[:] = [stream_keys(checked_seed(seed), 1)[0] for seed in seeds]
        self._draws[:] = 0

    def _look(self, mask: np.ndarray) -> None:
        """Renew the observations of the worlds in `mask`, in new arrays: those handed out before
        stay as they are."""
        if self._observation:
            observation = {g: array.copy() for g, array in self._observation.items()}
        else:
            observation = self._new_arrays(self._observed)
        chosen = np.zeros(self._blocks.count, bool)
        chosen[np.flatnonzero(mask) // self._blocks.lanes] = True
        self._run(False, chosen, self._no_actions, observation)
        self._observation = observation

    def _run(
        self, moving: bool, chosen: np.ndarray, actions: tuple[np.ndarray, ...], observation: Arrays
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run the step kernel, on every thread's share of the blocks; return reward [E, n] and
        metrics [M, E]."""
        reward = np.empty((self.num_worlds, 1, len(self._agents.radius)), self.dtype)
        rows, blocks = len(self.scenario.metrics), self._blocks
        metrics = np.empty((rows, blocks.count, *blocks.trailing), self.dtype)
        args = (moving, chosen, actions, tuple(observation.values()), reward, metrics)
        if self._pool is None:
            self._step(self.scenario, self._states[0], *args, *self._ranges[0])
        else:
            self._step.prepare(self.scenario, self._states[0], *args, *self._ranges[0])
            jobs = [
                self._pool.submit(self._step, self.scenario, state, *args, *share)
                for state, share in zip(self._states, self._ranges, strict=True)
            ]
            for job in jobs:
                job.result()
        metrics = metrics.reshape(rows, blocks.count * blocks.lanes)
        return reward[:, 0], metrics[:, : self.num_worlds]

    def _shapes(self, space: str) -> dict[str, tuple[int, ...]]:
        """[E, n_g, size] of every group."""
        return {
            g: (self.num_worlds, len(group), *getattr(group, space).shape)
            for g, group in self.groups.items()
        }

    def _new_arrays(self, shapes: dict[str, tuple[int, ...]]) -> Arrays:
        """An uninitialised array for every group."""
        return {g: np.empty(shape, self.dtype) for g, shape in shapes.items()}

    def step(self, actions: Arrays) -> Step:
        if not self._observation:
            raise RuntimeError("call reset() before the first step()")
        acted, dtype = self._acted, self.dtype
        given = tuple([checked_actions(actions, g, self.groups, acted[g], dtype) for g in acted])
        observation = self._new_arrays(self._observed)
        reward, metrics = self._run(True, self._every_block, given, observation)
        self._observation = observation
        self._elapsed += 1
        truncated = self._elapsed >= self.scenario.episode_length
        return Step(
            observation=observation,
            reward=self._by_group(reward),
            terminated=self._never,
            truncated=truncated,
            active=self._always,
            done=truncated,
            metrics=dict(zip(self.scenario.metrics, metrics, strict=True)),
        )

    def _by_group(self, array: np.ndarray) -> Arrays:
        """Split [E, n] into the groups' columns."""
        return {g: array[:, columns] for g, columns in self._columns.items()}

    def neighbours(self, agents: int, landmarks: int = 0) -> dict[str, Neighbours]:
        """As `World.neighbours`; equal distances are ordered by number. At most 64 of a kind."""
        for count in (agents, landmarks):
            if not 0 <= count <= NEAR_ROWS:
                raise ValueError(f"{count} neighbours are asked for; it can be 0 to {NEAR_ROWS}")
        if not self._observation:
            raise RuntimeError("call reset() before asking for neighbours")
        found, state = {}, self._states[0]
        for g, own in self._columns.items():
            team = self._alone(state.agents, own) if len(self.groups) > 1 else state.agents
            found[g] = Neighbours(
                self._nearest(team, team, agents), self._nearest(team, state.landmarks, landmarks)
            )
        return found

    def _nearest(self, agents: Bodies, others: Bodies, count: int) -> np.ndarray:
        numbers = np.empty((self.num_worlds, len(agents.radius), count), self.dtype)
        if count:
            self._neighbours(agents, others, agents is others, numbers)
        return numbers.astype(np.int64)

    def _alone(self, bodies: Bodies, own: slice) -> Bodies:
        """Some of the bodies, as if there were no others."""
        cells = bodies.cells
        if cells is not None:
            half_size = float(self.scenario.half_size)
            cells = new_cells(own.stop - own.start, half_size, self.dtype)
        return Bodies(
            np.ascontiguousarray(bodies.position[:, own]),
            np.ascontiguousarray(bodies.velocity[:, own]),
            bodies.radius[own],
            bodies.largest,
            bodies.mass[own],
            bodies.max_speed[own],
            bodies.collides[own],
            bodies.movable[own],
            cells,
        )

    def privileged(self) -> Arrays:
        """As `World.privileged`, from the scenario's function of that name."""
        agents, landmarks = self.positions()
        told = self.scenario.privileged(agents, landmarks)
        return self._by_group(told.astype(np.float32))

    # ------------------------------------------------------------------------------------ the state

    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Where agents and landmarks are: [E, n, 2] and [E, m, 2]."""
        return self._blocks.unpacked(self._agents.position), self._blocks.unpacked(
            self._landmarks.position
        )

    def velocities(self) -> np.ndarray:
        """How fast the agents move: [E, n, 2]."""
        return self._blocks.unpacked(self._agents.velocity)

    def messages(self) -> np.ndarray:
        """What the agents said in the last step: [E, n, message_size]."""
        return self._blocks.unpacked(self._messages)

    def goals(self) -> np.ndarray:
        """What was chosen when the episodes began: [E, num_goals]."""
        return self._blocks.unpacked(self._goals)[..., 0]

    def set_state(
        self,
        positions: np.ndarray,
        velocities: np.ndarray,
        landmarks: np.ndarray,
        *,
        messages: np.ndarray | None = None,
        goals: np.ndarray | None = None,
    ) -> Arrays:
        """Put agents (positions, velocities [E, n, 2]) and landmarks ([E, m, 2]) where you want
        them, and what was said (messages [E, n, message_size]) and chosen (goals [E, num_goals]) if
        given; return everybody's observation. The clock and the random streams go on as they
        were."""
        if not self._observation:
            self.reset()
        self._blocks.pack(self._agents.position, positions)
        self._blocks.pack(self._agents.velocity, velocities)
        self._blocks.pack(self._landmarks.position, landmarks)
        if messages is not None:
            self._blocks.pack(self._messages, messages)
        if goals is not None:
            self._blocks.pack(self._goals, goals[..., None])
        self._look(np.ones(self.num_worlds, bool))
        return self._observation

    def state(self) -> np.ndarray:
        agents, landmarks = self.positions()
        parts = (agents, self.velocities(), landmarks, self.messages(), self.goals())
        return np.concatenate([part.reshape(self.num_worlds, -1) for part in parts], axis=1)

    def scene(self, world: int = 0) -> Scene:
        agents, landmarks = (array[world] for array in self.positions())
        goals, said = self.goals()[world], self.messages()[world]
        agent_colours, landmark_colours = self.scenario.colours(agents, landmarks, goals)
        half_size = float(self.scenario.half_size) * 1.1
        return Scene(
            half_size=(half_size, half_size),
            positions=np.concatenate([agents, landmarks]).astype(np.float32),
            radii=np.concatenate([self._agents.radius, self._landmarks.radius]).astype(np.float32),
            colours=np.concatenate([agent_colours, landmark_colours]),
            caption=f"{len(agents)} agents   step {self._elapsed[world]}{self._spoken(said)}",
        )

    def _spoken(self, said: np.ndarray) -> str:
        """Who said which letter: that of the largest number of the message."""
        names = [name for group in self.groups.values() for name in group.names]
        spoken = [
            f"   {names[i]}: {LETTERS[int(said[i].argmax()) % len(LETTERS)]}"
            for i in np.flatnonzero(said.any(axis=1))
        ]
        return "".join(spoken) if len(spoken) <= MOST_SPEAKERS else f"   {len(spoken)} speak"

    def state_dict(self) -> dict[str, Any]:
        agents, landmarks = self.positions()
        state = {
            "agents": agents,
            "velocities": self.velocities(),
            "landmarks": landmarks,
            "draws": self._draws.copy(),
            "elapsed": self._elapsed.copy(),
        }
        if self.scenario.message_size:
            state["messages"] = self.messages()
        if self.scenario.num_goals:
            state["goals"] = self.goals()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.set_state(
            state["agents"],
            state["velocities"],
            state["landmarks"],
            messages=state.get("messages"),
            goals=state.get("goals"),
        )
        self._draws[:] = state["draws"]
        self._elapsed[:] = state["elapsed"]
