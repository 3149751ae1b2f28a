"""Team spirit by hand, by group, over training; and that training learns from shared rewards."""

import numpy as np
import pytest
from tiny import TINY

from marl.config.model import TrainingConfig
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.learning.replay import Replay
from marl.training.loop import train
from marl.training.reward_sharing import RewardSharing
from marl.worlds.registry import make

GROUPS = make("tag").groups
REWARD = {"adversaries": np.float32([[1, 2, 6], [0, 0, 3]]), "good": np.float32([[5], [7]])}


def sharing(**settings):
    return RewardSharing(TrainingConfig(**settings), GROUPS)


def test_nothing_is_shared_unless_asked_for():
    assert sharing()(REWARD, 0.5)["adversaries"] is REWARD["adversaries"]


def test_half_and_all():
    half = sharing(reward_sharing=0.5)(REWARD, 0.0)
    assert half["adversaries"].tolist() == [[2, 2.5, 4.5], [0.5, 0.5, 2]]
    assert half["good"].tolist() == [[5], [7]]
    whole = sharing(reward_sharing=1.0)(REWARD, 0.9)
    assert whole["adversaries"].tolist() == [[3, 3, 3], [1, 1, 1]]
    assert whole["adversaries"].dtype == np.float32


def test_by_group_and_in_a_straight_line():
    share = sharing(reward_sharing={"adversaries": 1.0}, final_reward_sharing=0.0)
    assert share(REWARD, 0.0)["adversaries"].tolist() == [[3, 3, 3], [1, 1, 1]]
    assert share(REWARD, 0.5)["adversaries"].tolist() == [[2, 2.5, 4.5], [0.5, 0.5, 2]]
    assert share(REWARD, 1.0)["adversaries"].tolist() == REWARD["adversaries"].tolist()


def test_groups_that_there_are_not_are_named():
    with pytest.raises(UserError, match=r"final_reward_sharing has 'prey', but the groups are adv"):
        sharing(final_reward_sharing={"prey": 0.5})


def test_training_learns_from_what_was_shared(data, monkeypatch):
    """What comes into replay are the means; logs keep the rewards as they are."""
    seen = []
    add = Replay.add

    def keep(replay, transition):
        seen.append(transition.reward["agents"])
        return add(replay, transition)

    monkeypatch.setattr(Replay, "add", keep)

    def tiny(*settings):
        return parse_config(with_settings(TINY, ["world.reward=nearest", *settings]))

    train(tiny("training.steps=40", "training.reward_sharing=1"), "shared")
    assert all((rows == rows[:, :1]).all() for rows in seen)
    assert np.ptp(np.concatenate(seen)[:, 0]) > 0
    with pytest.raises(UserError, match=r"no place beside training\.num_agents"):
        train(tiny("training.reward_sharing=1", "training.num_agents=[2, 4]"), "islands")
