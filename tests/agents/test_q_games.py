"""Q-learners in games with known answers."""

import itertools

import numpy as np
import pytest
import torch
from agents.q_learners import Sizes, learn, rows, score

from marl.testing.games import CLIMBING, TwoStepGame, matrix_game, remembered_cue


def values_of(agent, groups_choices):
    """The values of every agent's choices in a game without observations, [N, C]."""
    learner = agent.learners["agents"]
    seen = torch.zeros(groups_choices[0], 1, 1)
    return learner.act(seen, None, True)[0][:, 0].detach().numpy()


def team_values(agent, values):
    """Q_tot of all joint choices of two agents who see zeros, [C, C]."""
    mixer, (count, choices) = agent.teams["agents"].mixer, values.shape
    pairs = torch.tensor([*itertools.product(*[v.tolist() for v in values])]).T
    mixed = mixer(pairs.contiguous(), torch.zeros(pairs.shape[1], count))
    return mixed.detach().numpy().reshape(choices, choices)


@rows
def test_the_two_step_game(name):
    """A sum cannot represent what waits behind the better choice, a monotonic mixer can."""
    agent = learn(TwoStepGame(), 300, name=name, lr=0.02, final_lr=0.1)
    assert score(TwoStepGame(), agent) == (8.0 if name == "qmix" else 7.0)


@pytest.mark.learning
@rows
def test_the_climbing_game(name):
    """With uniform data independent values are the means over what the other does, and a sum of
    values is the nearest one to the table; the third choice is best in both, and in the nearest
    monotonic table. So all three get 5 and none the 11 behind the -30."""
    agent = learn(matrix_game(CLIMBING), 600, name=name, final_lr=0.01, batch=256)
    assert score(matrix_game(CLIMBING), agent) == 5.0
    table = np.array(CLIMBING)
    rows, columns = table.mean(1), table.mean(0)
    values = values_of(agent, (2, 3))
    if name == "iql":
        np.testing.assert_allclose(values, [rows, columns], atol=1.5)
        return
    found, nearest_sum = team_values(agent, values), rows[:, None] + columns - table.mean()
    errors = [np.square(x - table).mean() for x in (found, nearest_sum)]
    if name == "vdn":
        np.testing.assert_allclose(found, nearest_sum, atol=2.0)
    else:
        assert 110.8 < errors[0] < 0.95 * errors[1]  # 110.82: the nearest monotonic table
        assert found[2, 2] == found.max()


@pytest.mark.learning
@rows
@pytest.mark.parametrize(
    ("turns", "sizes", "settings"),
    [
        (600, Sizes(), {"window": 4, "memory": 16}),
        (1000, Sizes(update_every=128), {"replay": False, "memory": 16, "td_lambda": 0.5}),
    ],
    ids=["replay", "rollouts"],
)
def test_a_memory_remembers_the_cue(name, turns, sizes, settings):
    agent = learn(remembered_cue(), turns, sizes, name=name, final_lr=0.1, **settings)
    assert score(remembered_cue(), agent) == 1.0


@pytest.mark.learning
@rows
def test_without_replay_the_two_step_game_has_the_same_answers(name):
    sizes = Sizes(update_every=256)
    settings = {"replay": False, "td_lambda": 0.0, "layer_norm": True, "epochs": 4}
    agent = learn(TwoStepGame(), 800, sizes, name=name, final_lr=0.1, **settings)
    assert score(TwoStepGame(), agent) == (8.0 if name == "qmix" else 7.0)
