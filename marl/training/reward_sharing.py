"""Team spirit: the share of the group's mean in an agent's reward."""

import numpy as np

from marl.config.model import TrainingConfig
from marl.errors import UserError
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group


class RewardSharing:
    """r_i <- (1 - s) r_i + s mean_j r_j over the group. s moves linearly from
    `training.reward_sharing` to `training.final_reward_sharing`: the "team spirit" of OpenAI 2019
    (1912.06680)."""

    def __init__(self, training: TrainingConfig, groups: dict[str, Group]) -> None:
        """Raises UserError for unknown groups, and beside `training.num_agents`, which joins worlds
        of several sizes into one."""
        first, last = training.reward_sharing, training.final_reward_sharing
        self._first = _of_each(first, groups, "reward_sharing")
        self._last = self._first
        if last is not None:
            self._last = _of_each(last, groups, "final_reward_sharing")
        if training.num_agents and (any(self._first.values()) or any(self._last.values())):
            raise UserError("training.reward_sharing has no place beside training.num_agents")

    def __call__(self, reward: Arrays, progress: float) -> Arrays:
        """Shared rewards {g: f32[E, N]} after this share (0 to 1) of training."""
        shared = {}
        for g, own in reward.items():
            s = self._first[g] + (self._last[g] - self._first[g]) * progress
            mean = own.mean(axis=1, keepdims=True)
            shared[g] = np.float32(1 - s) * own + np.float32(s) * mean if s else own
        return shared


def _of_each(
    share: float | dict[str, float], groups: dict[str, Group], field: str
) -> dict[str, float]:
    if not isinstance(share, dict):
        return dict.fromkeys(groups, share)
    for g in share:
        if g not in groups:
            raise UserError(f"training.{field} has {g!r}, but the groups are {', '.join(groups)}")
    return {g: share.get(g, 0.0) for g in groups}
