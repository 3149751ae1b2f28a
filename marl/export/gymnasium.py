"""marl's worlds for single-agent learners, as Gymnasium's environments: the team is one agent, with
the observations and actions of all its members.

>>> import gymnasium, marl
>>> envs = gymnasium.make_vec("marl/spread-v0", num_envs=64, num_agents=3)

Observations of all agents are concatenated, group by group, and so are their actions. Actions are
Box(-1, 1), or MultiDiscrete if all are choices (`actions="discrete"`). The reward is the mean over
the agents. The infos hold the world's metrics. Particle worlds have MPE2's order of integration
unless `integration` is given.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from marl.rendering.frames import draw
from marl.rendering.movies import FPS
from marl.worlds.base import Arrays, Step, World
from marl.worlds.registry import find_scenario, make, mpe2_physics, new_seed
from marl.worlds.spaces import one_hot

METADATA = {"render_modes": ["rgb_array"], "render_fps": FPS}
VECTOR_METADATA = {**METADATA, "autoreset_mode": AutoresetMode.NEXT_STEP}


class Team:
    """The agents of a world as one agent, in E worlds."""

    def __init__(self, world: World) -> None:
        """Raises ValueError if some actions are numbers and others choices."""
        groups = self._groups = world.groups
        spaces = [(len(group), group.observation_space) for group in groups.values()]
        low, high = (
            np.concatenate([np.tile(getattr(space, end).ravel(), n) for n, space in spaces])
            for end in ("low", "high")
        )
        self.observation_space = Box(low, high, dtype=low.dtype.type)
        choices = [p.stop - p.start for x in groups.values() for p in x.choices * len(x)]
        size = sum(len(x) * x.action_space.shape[0] for x in groups.values())
        if choices and sum(choices) != size:
            raise ValueError("some actions are numbers and others choices: they form no one space")
        self.action_space: Space = Box(-1.0, 1.0, (size,), np.float32)
        if choices:
            self.action_space = MultiDiscrete(choices)

    def observation(self, observation: Arrays) -> np.ndarray:
        """{g: [E, N, *O]} as [E, O']."""
        return np.concatenate([x.reshape(len(x), -1) for x in observation.values()], 1)

    def actions(self, actions: np.ndarray) -> Arrays:
        """[E, A'] as {g: f32[E, N, A]}."""
        if isinstance(self.action_space, MultiDiscrete):
            counts = self.action_space.nvec
            columns = [one_hot(actions[:, i], count) for i, count in enumerate(counts)]
            actions = np.concatenate(columns, 1)
        found, at = {}, 0
        for g, group in self._groups.items():
            size = len(group) * group.action_space.shape[0]
            found[g] = actions[:, at : at + size].reshape(len(actions), len(group), -1)
            at += size
        return found

    def reward(self, step: Step) -> np.ndarray:
        """f64[E]."""
        return np.concatenate([*step.reward.values()], 1).mean(1, dtype=np.float64)


def _made(scenario: str, num_worlds: int, render_mode: str | None, **parameters: Any) -> World:
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode is {render_mode!r}, but can be 'rgb_array' or None")
    given = {**mpe2_physics(find_scenario(scenario)), **parameters}
    return make(scenario, num_worlds=num_worlds, seed=new_seed(), **given)


class TeamVectorEnv(VectorEnv):
    """E worlds, stepped together. A world whose episode is over resets in the next step, without
    acting and without reward (AutoresetMode.NEXT_STEP)."""

    metadata = VECTOR_METADATA

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str = "spread",
        render_mode: str | None = None,
        **parameters: Any,
    ) -> None:
        """`parameters` are the scenario's. Raises ValueError for unknown ones."""
        self.world = _made(scenario, num_envs, render_mode, **parameters)
        self.render_mode = render_mode
        self.num_envs = num_envs
        self._team = Team(self.world)
        self.single_observation_space = self._team.observation_space
        self.single_action_space = self._team.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._over = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Start new episodes: in all worlds, or in those of `options["reset_mask"]`, bool[E]. Each
        world has its own seed; from an int the seeds count up."""
        mask = (options or {}).get("reset_mask")
        if seed is not None:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
            self.world.reseed(seeds)
        observation = self.world.reset(mask)
        self._over = np.zeros(self.num_envs, bool) if mask is None else self._over & ~mask
        return self._team.observation(observation), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Act. Results are [E], observations [E, O]."""
        begun = self._over
        step = self.world.step(self._team.actions(np.asarray(actions)))
        observation = self.world.reset(begun) if begun.any() else step.observation
        terminated = step.done & ~step.truncated & ~begun
        truncated = step.truncated & ~begun
        self._over = terminated | truncated
        infos: dict[str, np.ndarray] = {}
        for name, values in step.metrics.items() if not begun.all() else ():
            infos |= {name: np.where(begun, 0.0, values), f"_{name}": ~begun}
        reward = np.where(begun, 0.0, self._team.reward(step))
        return self._team.observation(observation), reward, terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of each world, u8[H, W, 3]."""
        if self.render_mode is None:
            return None
        return tuple(draw(self.world.scene(e)) for e in range(self.num_envs))


class TeamEnv(gymnasium.Env):
    """One world."""

    metadata = METADATA

    def __init__(
        self, scenario: str = "spread", render_mode: str | None = None, **parameters: Any
    ) -> None:
        """`parameters` are the scenario's. Raises ValueError for unknown ones."""
        self.world = _made(scenario, 1, render_mode, **parameters)
        self.render_mode = render_mode
        self._team = Team(self.world)
        self.observation_space, self.action_space = (
            self._team.observation_space,
            self._team.action_space,
        )

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Start a new episode. There are no `options`."""
        super().reset(seed=seed)
        if seed is not None:
            self.world.reseed([seed])
        return self._team.observation(self.world.reset())[0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Act."""
        step = self.world.step(self._team.actions(np.asarray(action)[None]))
        observation, reward = self._team.observation(step.observation), self._team.reward(step)
        truncated, done = bool(step.truncated[0]), bool(step.done[0])
        infos = {name: float(values[0]) for name, values in step.metrics.items()}
        return observation[0], float(reward[0]), done and not truncated, truncated, infos

    def render(self) -> np.ndarray | None:
        """The picture, u8[H, W, 3]."""
        return None if self.render_mode is None else draw(self.world.scene())
