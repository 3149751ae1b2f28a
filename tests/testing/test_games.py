"""The games' rewards and observations are what their docstrings say."""

import numpy as np

from marl.testing.games import CLIMBING, TwoStepGame, matrix_game, remembered_cue
from marl.testing.probes import WORLDS
from marl.worlds.spaces import one_hot


def acts(*choices, count=2):
    """Everybody in every world chooses these, one number an agent."""
    return {"agents": np.repeat(one_hot(np.array([choices]), count), WORLDS, 0)}


def test_matrix_game():
    game = matrix_game(CLIMBING)
    game.reset()
    step = game.step(acts(1, 2, count=3))
    assert (step.reward["agents"] == 6).all()
    assert step.done.all()
    assert step.terminated["agents"].all()


def test_two_step_game():
    game = TwoStepGame()
    for first, second, rewards in ((0, (0, 1), 7), (1, (1, 1), 8), (1, (0, 1), 1), (1, (0, 0), 0)):
        seen = game.reset()["agents"]
        assert (seen == [1, 0, 0]).all()
        step = game.step(acts(first, 0))
        assert not step.done.any()
        assert (step.reward["agents"] == 0).all()
        assert (step.observation["agents"] == np.eye(3)[1 + first]).all()
        step = game.step(acts(*second))
        assert (step.reward["agents"] == rewards).all()
        assert step.done.all()


def test_remembered_cue():
    game = remembered_cue(3, agents=2)
    cue = game.reset()["agents"][..., 0]
    assert set(np.unique(cue)) == {-1.0, 1.0}
    right = {"agents": one_hot((cue > 0).astype(int), 2)}
    for t in range(3):
        step = game.step(right)
        assert (step.observation["agents"] == 0).all()
        assert (step.reward["agents"] == (t == 2)).all()
    assert step.done.all()
    assert (game.reset()["agents"][..., 0] != cue).any()
