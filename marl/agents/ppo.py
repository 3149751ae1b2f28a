"""Proximal policy optimisation (Schulman et al. 2017) for many agents.

Two choices make a member of the family: the critic's input (`FAMILY`), and one network for all
agents or one for each (`networks`). `ppo_learner` has the update.

Shapes: a rollout has T steps of E worlds with N agents, [T, E, N, ...] in memory. Networks' inputs
are [N, T, E, size].
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from marl.agents.core.critic_inputs import one_table, own, own_first
from marl.agents.core.learner import LearningAgent, Logged, rows_of
from marl.agents.ppo_config import PPOConfig
from marl.agents.ppo_learner import Inputs, PPOLearner, agents_first
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch, Columns, Draw, columns_of
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group


class PPO(LearningAgent[PPOLearner]):
    """Proximal policy optimisation: a learner for each group. Its policy explores by itself."""

    draw: Draw = "rollout"
    noises = ("none",)

    def __init__(
        self,
        groups: dict[str, Group],
        config: PPOConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        """Raises ValueError if a setting does not fit the groups."""
        self.size_invariant = config.networks == "one"
        super().__init__(groups, config, exploration, seed, lambda g: PPOLearner(g, groups, config))
        self._added = {g: learner.added for g, learner in self.learners.items()}
        self._recorded: dict[str, Arrays] = {}

    # ------------------------------------------------------------------------------------- acting

    def columns(self, groups: dict[str, Group]) -> Columns:
        return {g: own | self._added[g] for g, own in columns_of(groups).items()}

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions: Arrays = {}
        self._recorded = {}
        with torch.no_grad():
            for g, learner in self.learners.items():
                observation = rows_of(perceived[g]).transpose(0, 1)
                generator = self.exploration.generator if explore else None
                values = learner.act(observation, self.groups[g].legal(observation), generator)
                actions[g] = values["drawn"].clamp(-1.0, 1.0).transpose(0, 1).numpy()
                for name in self._added[g]:
                    recorded = self._recorded.setdefault(name, {})
                    recorded[g] = values[name].transpose(0, 1).numpy()
        return actions

    def recorded(self) -> Mapping[str, Arrays]:
        return self._recorded

    def reset(self, mask: np.ndarray | None = None) -> None:
        for learner in self.learners.values():
            learner.reset(mask)

    # ------------------------------------------------------------------------------------ learning

    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        inputs = self.inputs(batch)
        for g, rollout in batch.items():
            result = self.learners[g].update(rollout, inputs[g], self.generator)
            results |= self.logged(g, _of_all(result))
        for g, rollout in batch.items():  # now, so that the policy was the same in all of it
            self.learners[g].observe(rollout)
        return results

    def inputs(self, batch: dict[str, Batch]) -> dict[str, Inputs]:
        """The networks' inputs for rollouts [T, E, N, ...]."""
        now, final = {}, {}
        for g, rollout in batch.items():
            ends = rollout.continues == 0.0
            observation = agents_first(rollout.observation).flatten(1, 2)
            following = rollout.next_observation[ends].transpose(0, 1)
            now[g] = self.learners[g].normalised(observation)
            final[g] = self.learners[g].normalised(following)
            if rollout.present is not None:  # others see zeros of agents that have left
                stays = rollout.present * (1.0 - rollout.terminated)
                there = agents_first(rollout.present).flatten(1)[..., None]
                now[g] = now[g] * there.to(now[g].dtype)
                final[g] = final[g] * stays[ends].T[..., None].to(final[g].dtype)
        look = own
        if self.config.joint:
            # Separate critics can learn any order of the agents, so all of them share one table.
            look = own_first if self.config.networks == "one" else one_table
        return {g: Inputs(now[g], look(now, g), look(final, g)) for g in batch}


def _of_all(result: Logged) -> Logged:
    """Values to log of K networks together: losses are sums, as in the update."""
    return {k: x.sum() if k.endswith("loss") else x.mean() for k, x in result.items()}
