"""Play that is greedy but for a few random actions (`evaluation.epsilon`)."""

import numpy as np

from marl.agents.core.base import Policy, View, WrappedPolicy
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group


class EpsilonGreedy(WrappedPolicy):
    """A policy in which each agent's action is, with a small chance, a uniformly random one.

    Agents that see the same and decide the same block each other forever where they meet; a few
    random actions part them. DQN is evaluated with 0.05 (Mnih et al. 2015).
    """

    def __init__(self, policy: Policy, groups: dict[str, Group], epsilon: float, seed: int) -> None:
        super().__init__(policy)
        self._groups, self._epsilon = groups, epsilon
        self._random = np.random.default_rng(seed)
        self._observation: Arrays = {}

    def perceive(self, view: View) -> Arrays:
        self._observation = view.observation
        return self._policy.perceive(view)

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions = self._policy.act(perceived, explore)
        if explore:
            return actions
        return {g: self._disturbed(g, action) for g, action in actions.items()}

    def _disturbed(self, g: str, action: np.ndarray) -> np.ndarray:
        group, shape = self._groups[g], action.shape[:2]
        legal = group.legal(self._observation[g])
        other = group.random_actions(self._random, *shape, legal=legal)
        return np.where(self._random.random(shape)[..., None] < self._epsilon, other, action)


def epsilon_greedy(policy: Policy, groups: dict[str, Group], epsilon: float, seed: int) -> Policy:
    """The policy as it is played in evaluations."""
    return EpsilonGreedy(policy, groups, epsilon, seed) if epsilon else policy
