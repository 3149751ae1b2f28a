"""Groups that play by different policies."""

from collections.abc import Mapping

import numpy as np

from marl.agents.core.base import Policy
from marl.worlds.base import Arrays, Neighbours


class Mixed(Policy):
    """Each group plays by its own policy. Only for playing, not for learning."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        """`policies`: the policy of each group; one policy may play several groups."""
        self._policies = policies
        self._all = list({id(policy): policy for policy in policies.values()}.values())
        agents, landmarks = zip(*(policy.knows for policy in self._all), strict=True)
        self.knows = max(agents), max(landmarks)
        self._perceived: list[Arrays] = []

    def perceive(
        self,
        observation: Arrays,
        neighbours: dict[str, Neighbours] | None = None,
        begun: np.ndarray | None = None,
        privileged: Arrays | None = None,
    ) -> Arrays:
        self._perceived = [
            policy.perceive(observation, neighbours, begun, privileged) for policy in self._all
        ]
        return observation

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        acted = {
            id(policy): policy.act(own, explore)
            for policy, own in zip(self._all, self._perceived, strict=True)
        }
        return {g: acted[id(policy)][g] for g, policy in self._policies.items()}

    def reset(self, mask: np.ndarray | None = None) -> None:
        for policy in self._all:
            policy.reset(mask)
