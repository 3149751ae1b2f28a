"""Stages of training with other worlds: `training.curriculum`."""

import signal

import pytest
import torch
from tiny import TINY, check_resumes, stop_at

from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.runs.checkpoint import read_checkpoint
from marl.runs.run import Run
from marl.training import loop as training

EASY, HARD = {"reward": "shared"}, {"reward": "original"}


def staged(*stages, **agent):
    """Trained in stages (end, world), the rest with the reward of EASY."""
    curriculum = [{"until": until, "world": world} for until, world in stages]
    world = {**TINY["world"], "num_agents": 4, **EASY}
    config = {**TINY, "world": world, "training": {**TINY["training"], "curriculum": curriculum}}
    return parse_config(config | ({"agent": agent, "exploration": {}} if agent else {}))


def weights(name):
    return read_checkpoint(Run(name).weights).tensors


def same(one, two):
    return all(torch.equal(torch.as_tensor(one[k]), torch.as_tensor(two[k])) for k in one)


def test_stages_follow_each_other():
    config = staged((100, HARD), (250, {"reward": "mpe2"}))
    rewards = [
        config.make_training_world(0, step).scenario.reward for step in (0, 99, 100, 249, 250, 399)
    ]
    assert rewards == ["original", "original", "mpe2", "mpe2", "shared", "shared"]
    assert [config.training.stage(step)[0] for step in (0, 100, 250)] == [100, 250, 400]
    assert parse_config(config.to_json()) == config


def test_a_stage_is_a_stop_and_a_resume_with_other_settings(data, monkeypatch):
    """Until 202, which lies between two turns and in the middle of an episode."""
    training.train(staged((202, HARD)), "staged")
    plain = parse_config(with_settings(staged().to_json(), ["world.reward=original"]))
    with monkeypatch.context() as patch:
        stop_at(patch, 204, lambda session: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            training.train(plain, "by_hand")
    training.resume("by_hand", ["world.reward=shared"])
    assert same(weights("staged"), weights("by_hand"))
    training.train(staged(), "easy")
    assert not same(weights("staged"), weights("easy"))
    training.train(staged((202, EASY)), "no_change")
    assert same(weights("no_change"), weights("easy"))


@pytest.mark.parametrize("step", [120, 200, 280])
@pytest.mark.parametrize("agent", [{}, {"name": "ippo", "hidden": [8], "memory": 4}])
def test_it_resumes_before_between_and_after(data, monkeypatch, step, agent):
    check_resumes(staged((200, HARD), **agent), monkeypatch, step)


def test_seeds_side_by_side_change_together(data):
    configs = {
        f"s{seed}": parse_config(
            with_settings(staged((200, HARD)).to_json(), [f"training.seed={seed}"])
        )
        for seed in (0, 1)
    }
    training.train_together(configs)
    training.train(configs["s1"], "alone")
    for name, tensor in weights("alone").items():
        torch.testing.assert_close(
            torch.as_tensor(tensor), torch.as_tensor(weights("s1")[name]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([(400, HARD)], "has stages until 400, but each should end after the one before, and the"),
        ([(200, HARD), (200, EASY)], "has stages until 200, 200, but each should end after"),
        ([(200, {"num_agents": 5})], "training.curriculum: with num_agents 5 there are other"),
        ([(200, {"num_perceived_agents": 2})], "or they see other things"),
        ([(200, {"collision_penalti": 2})], "did you mean training.curriculum.collision_penalty"),
        ([(0, HARD)], "training.curriculum.0.until is 0"),
    ],
)
def test_stages_that_do_not_fit_are_refused(stages, sentence):
    with pytest.raises(UserError) as found:
        staged(*stages)
    assert sentence in str(found.value)


def test_a_state_that_does_not_fit_a_later_stage_is_told_before_training(data):
    sentence = r"training.curriculum: the world from step 200 on cannot go on from the state of"
    with pytest.raises(UserError, match=sentence):
        training.train(staged((200, HARD), (300, {"num_landmarks": 6})), "unfit")
    assert not Run("unfit").models.exists()
