"""PettingZoo's own pursuit_v5 with our settings, observations and metrics."""

from typing import Any, ClassVar

import numpy as np

from marl.worlds.base import World
from marl.worlds.pettingzoo.described import PROCESSES, DescribedEnv, described_world
from marl.worlds.pursuit import rules
from marl.worlds.pursuit.world import Pursuit

MODULE = "pettingzoo.sisl.pursuit.pursuit"


class RealPursuit(Pursuit):
    """PettingZoo's pursuit_v5 itself, for policies of `pursuit`, whose settings it has. Equal
    starts and actions give equal observations and rewards. The episode is truncated, not
    terminated, if the last evader is caught in its last step."""

    slow: ClassVar[bool] = True

    processes: int | None = PROCESSES

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> World:
        """Raises UserError if PettingZoo or its family sisl is not installed."""
        return described_world(self, "real_pursuit", MODULE, PursuitEnv, num_worlds, seed)


class PursuitEnv(DescribedEnv):
    """PettingZoo's environment with flat observations, and `measures` of the episode."""

    metadata: ClassVar[dict[str, str]] = {"name": "real_pursuit"}

    def __init__(self, scenario: Pursuit) -> None:
        from pettingzoo.sisl.pursuit.pursuit import parallel_env

        width, height = scenario.map_size
        self.evaders = scenario.evader_count
        self.env = parallel_env(
            n_pursuers=scenario.num_agents,
            n_evaders=self.evaders,
            x_size=width,
            y_size=height,
            max_cycles=scenario.episode_length,
            obs_range=scenario.obs_range,
            surround=scenario.surround,
            n_catch=scenario.n_catch,
            tag_reward=scenario.tag_reward,
            catch_reward=scenario.catch_reward,
            urgency_reward=scenario.urgency_reward,
            shared_reward=scenario.shared_reward,
            freeze_evaders=scenario.freeze_evaders,
            constraint_window=scenario.constraint_window,
            render_mode="rgb_array",
        )
        self.measures = dict.fromkeys(Pursuit.metrics, 0.0)

    def reset(self, seed: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        seen, infos = self.env.reset(seed=seed)
        self.measures = dict.fromkeys(Pursuit.metrics, 0.0)
        return {name: view.ravel() for name, view in seen.items()}, infos

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        seen, rewards, *others = self.env.step(actions)
        self.measures["return"] += float(sum(rewards.values()))
        left = self.env.state()[..., rules.EVADERS].sum()
        self.measures["caught"] = 1.0 - float(left) / self.evaders
        return {name: view.ravel() for name, view in seen.items()}, rewards, *others
