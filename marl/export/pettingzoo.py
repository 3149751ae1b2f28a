"""marl's worlds for other libraries, as PettingZoo's parallel environments.

>>> import marl
>>> env = marl.parallel_env("tag", num_adversaries=4, max_cycles=50)

Names of agents, spaces and actions are those of MPE2's environment of the same name (simple_tag and
so on). So a learner for MPE2 works here unchanged.
"""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space

from marl.rendering.frames import draw
from marl.rendering.movies import FPS
from marl.rendering.window import Viewer
from marl.worlds.base import World
from marl.worlds.registry import find_scenario, make, mpe2_physics, new_seed, our_name
from marl.worlds.spaces import Group, one_hot

try:
    from pettingzoo import AECEnv, ParallelEnv
    from pettingzoo.utils import parallel_to_aec
    from pettingzoo.utils.wrappers import OrderEnforcingWrapper
except ImportError as error:
    raise ImportError('marl.parallel_env needs an extra: pip install "marl[pettingzoo]"') from error

RENDER_MODES = ("human", "rgb_array")


def parallel_env(
    scenario: str = "spread",
    *,
    max_cycles: int | None = None,
    continuous_actions: bool = False,
    render_mode: str | None = None,
    **parameters: Any,
) -> "WorldEnv":
    """One of marl's worlds as a PettingZoo environment.

    Args:
        scenario: its name, also MPE2's ("simple_tag_v3"), or "module:Class".
        max_cycles: steps after which every agent is truncated; None: the scenario's own.
        continuous_actions: False: actions are Discrete, move + 5 x letter. True: Box(0, 1) of 5
            numbers (none, left, right, down, up; a force is a difference) and of the numbers of a
            message. A scenario without the setting `actions` has Box(-1, 1) in any case.
        render_mode: "rgb_array" (u8[H, W, 3]), "human" (a live window) or None.
        parameters: the scenario's other parameters. `integration` is MPE2's order, "explicit",
            unless it is given: marl's own policies know "semi_implicit". With
            `observation="everything"` spread has MPE2's observations.

    Raises ValueError for an unknown name, parameter or mode.
    """
    kind = find_scenario(scenario)
    chooses = "actions" in kind.model_fields
    given = {**mpe2_physics(kind), **({"actions": "discrete"} if chooses else {}), **parameters}
    if chooses and "actions" in parameters:
        raise ValueError("actions cannot be given here: set continuous_actions to True or False")
    if max_cycles is not None:
        given["episode_length"] = max_cycles
    name = kind.__name__.lower() if ":" in scenario else our_name(scenario)
    world = make(scenario, seed=new_seed(), **given)
    return WorldEnv(world, f"{name}_v0", continuous_actions, render_mode)


def env(scenario: str = "spread", **settings: Any) -> AECEnv:
    """The AEC version of `parallel_env`: agents act one after the other."""
    return OrderEnforcingWrapper(parallel_to_aec(parallel_env(scenario, **settings)))


class WorldEnv(ParallelEnv[str, np.ndarray, Any]):
    """A `World` as a PettingZoo environment. It has one world (num_worlds 1).

    Agents that are no longer active are removed. The infos of each step hold the world's metrics.
    Actions that are only choices are Discrete or, with `continuous_actions`, one number for each
    option; other actions are Box(-1, 1). A reset without a seed continues the random stream of the
    world.
    """

    def __init__(
        self,
        world: World,
        name: str,
        continuous_actions: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *RENDER_MODES):
            raise ValueError(
                f"render_mode is {render_mode!r}, but can be {', '.join(map(repr, RENDER_MODES))} "
                "or None"
            )
        self.metadata = {
            "name": name,
            "render_modes": list(RENDER_MODES),
            "render_fps": FPS,
            "is_parallelizable": True,
        }
        self.render_mode = render_mode
        self._world = world
        self._continuous = continuous_actions
        self._viewer: Viewer | None = None
        groups = world.groups
        self._places = {
            name: (g, i) for g, group in groups.items() for i, name in enumerate(group.names)
        }
        self.possible_agents = [*self._places]
        self.agents: list[str] = []
        self.observation_spaces: dict[str, Space] = {
            name: _copy(groups[g].observation_space) for name, (g, _) in self._places.items()
        }
        self.action_spaces: dict[str, Space] = {
            name: _action_space(groups[g], continuous_actions)
            for name, (g, _) in self._places.items()
        }

    # PettingZoo's own versions of these two warn that they are only for older environments.

    def observation_space(self, agent: str) -> Space:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space:
        return self.action_spaces[agent]

    @property
    def state_space(self) -> Box:
        """The space of `state`."""
        return Box(-np.inf, np.inf, self.state().shape, np.float32)

    def state(self) -> np.ndarray:
        """f32[S]: the full state of the world."""
        if not self.agents:
            self._world.reset(np.zeros(1, bool))
        return self._world.state()[0]

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
        """Start a new episode. There are no `options`."""
        if seed is not None:
            self._world.reseed([seed])
        observation = self._world.reset()
        self.agents = self.possible_agents[:]
        if self.render_mode == "human":
            self.render()
        return self._of_each(observation), {name: {} for name in self.agents}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, np.ndarray],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict],
    ]:
        """Act. An agent whose episode has ended is removed from `agents`. Raises ValueError if an
        action is missing or not in its space."""
        if not self.agents:
            raise RuntimeError("the episode is over: call reset() before step()")
        step = self._world.step(self._stacked(actions))
        reward = {n: float(x) for n, x in self._of_each(step.reward).items()}
        terminations = {n: bool(x) for n, x in self._of_each(step.terminated).items()}
        truncations = dict.fromkeys(self.agents, bool(step.truncated[0]))
        metrics = {name: float(values[0]) for name, values in step.metrics.items()}
        infos = {name: dict(metrics) for name in self.agents}
        observation = self._of_each(step.observation)
        self.agents = [n for n in self.agents if not (truncations[n] or terminations[n])]
        if self.render_mode == "human":
            self.render()
        return observation, reward, terminations, truncations, infos

    def _of_each(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        places = {name: self._places[name] for name in self.agents}
        return {name: arrays[g][0, i] for name, (g, i) in places.items()}

    def _stacked(self, actions: dict[str, Any]) -> dict[str, np.ndarray]:
        """f32[1, N, A] for each group; zeros for removed agents."""
        groups = self._world.groups
        stacked = {
            g: np.zeros((1, len(group), *group.action_space.shape), np.float32)
            for g, group in groups.items()
        }
        for name in self.agents:
            g, i = self._places[name]
            if name not in actions:
                raise ValueError(f"there is no action of {name!r}; the agents are {self.agents}")
            stacked[g][0, i] = _action(groups[g], self.action_spaces[name], name, actions[name])
        return stacked

    def render(self) -> np.ndarray | None:
        """The picture, u8[H, W, 3], in the mode "rgb_array". In the mode "human" it is shown."""
        if self.render_mode is None:
            return None
        scene = self._world.scene()
        if self.render_mode == "rgb_array":
            return draw(scene)
        self._viewer = self._viewer or Viewer(str(self.metadata["name"]))
        self._viewer.show(scene)
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None


def _copy(space: Box) -> Box:
    """A copy of a space, which can be seeded separately."""
    return Box(space.low, space.high, dtype=space.low.dtype.type)


def _action_space(group: Group, continuous: bool) -> Space:
    counts = [piece.stop - piece.start for piece in group.choices]
    if continuous or sum(counts) < group.action_space.shape[0]:
        return _copy(group.action_space)
    return Discrete(int(np.prod(counts)))


def _action(group: Group, space: Space, name: str, action: Any) -> np.ndarray:
    """An action in the form of the world, f32[A]."""
    if not isinstance(space, Discrete):
        action = np.asarray(action, np.float32)
        if action.shape != space.shape:
            raise ValueError(f"the action of {name!r} has shape {action.shape}, not {space.shape}")
        return action
    if not space.contains(action):
        raise ValueError(f"the action of {name!r} is {action!r}; it should be in {space}")
    left, columns = int(action), []
    for piece in group.choices:
        count = piece.stop - piece.start
        columns.append(one_hot(np.array(left % count), count))
        left //= count
    return np.concatenate(columns)
