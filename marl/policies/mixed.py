"""Groups that play by different policies."""

from collections.abc import Mapping

import numpy as np

from marl.agents.core.base import Policy, View
from marl.worlds.base import Arrays


class Mixed(Policy):
    """Each group plays by its own policy. Only for playing, not for learning."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        """`policies`: the policy of each group; one policy may play several groups."""
        self._policies = policies
        self._all = list({id(policy): policy for policy in policies.values()}.values())
        for policy in self._all:
            self.needs = self.needs | policy.needs
        self._perceived: list[Arrays] = []

    def perceive(self, view: View) -> Arrays:
        self._perceived = [policy.perceive(view) for policy in self._all]
        return view.observation

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        acted = {
            id(policy): policy.act(own, explore)
            for policy, own in zip(self._all, self._perceived, strict=True)
        }
        return {g: acted[id(policy)][g] for g, policy in self._policies.items()}

    def reset(self, mask: np.ndarray | None = None) -> None:
        for policy in self._all:
            policy.reset(mask)
