"""Heuristics of single scenarios: known moves, and how well they play."""

import numpy as np
import pytest
from worlds.pursuit.placing import DOWN, LEFT, RIGHT, STAY, UP, placed

from marl.evaluation import evaluate
from marl.policies.builtin import BUILTIN, HOMES
from marl.worlds.registry import find_scenario, make


def played(name, agents, episodes, **settings):
    return evaluate(BUILTIN[name], find_scenario(HOMES[name])(**settings), agents, episodes, 0)


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
def test_the_wave_carries_the_ball(actions):
    found = played("wave", 20, 40, actions=actions)
    assert found["return"] > 80
    assert found["delivered"] > 0.8


def test_the_wave_raises_the_pistons_behind_the_ball():
    world = make("pistonball", num_agents=4)
    observation = world.reset()
    moves = BUILTIN["wave"](world).act(observation)["pistons"][0, :, 0]
    ball = observation["pistons"][0, :, 3]
    assert moves.tolist() == np.where(ball < 0, 1.0, -1.0).tolist()
    assert {*moves} == {-1.0, 1.0}


def test_the_chase_catches_what_chance_does_not():
    chase, chance = (
        evaluate(BUILTIN[name], find_scenario("pursuit")(), 8, 6, 0) for name in ("chase", "random")
    )
    assert chase["caught"] > 0.8
    assert chance["caught"] < 0.1
    assert chase["return"] > chance["return"] + 200


def chosen(pursuers, evaders):
    """The moves of the first pursuer, over many draws."""
    world, seen = placed(pursuers, evaders, num_worlds=40, x_size=30, y_size=30)
    return {*BUILTIN["chase"](world).act({"pursuers": seen})["pursuers"][:, 0].argmax(-1).tolist()}


def test_the_chase_goes_to_the_free_sides():
    for evader, moves in (
        ((4, 2), {RIGHT}), ((2, 4), {UP}), ((0, 2), {LEFT}), ((2, 0), {DOWN}), ((3, 2), {STAY})
    ):  # fmt: skip
        assert chosen([(2, 2)], [evader]) == moves
    # The side that is nearest is held by another pursuer: around it.
    assert chosen([(2, 2), (3, 2)], [(4, 2)]) == {RIGHT, UP, DOWN}
    # Three sides of the farther evader are held.
    held = [(5, 3), (4, 4), (5, 5)]
    assert chosen([(3, 2), *held], [(5, 4), (2, 2)]) <= {RIGHT, UP}
    # No evader is in sight: chance.
    assert len(chosen([(2, 2)], [(25, 25)])) == 5


def test_foragers_eat_more_and_meet_less_poison_than_chance():
    forage, chance = (
        evaluate(BUILTIN[name], find_scenario("waterworld")(), 5, 24, 0)
        for name in ("forage", "random")
    )
    assert forage["food"] > 2 * chance["food"]
    assert forage["poison"] < 0.5 * chance["poison"]
    assert forage["return"] > 0 > chance["return"]


def test_a_foragers_choice_is_the_way_next_to_its_thrust():
    free, choosing = (
        make("waterworld", num_worlds=9, actions=x) for x in ("continuous", "discrete")
    )
    seen = free.reset()
    thrust = BUILTIN["forage"](free).act(seen)["pursuers"].reshape(-1, 2)
    choice = BUILTIN["forage"](choosing).act(seen)["pursuers"].reshape(-1, 5)
    assert np.isin([0, 1, 2], choice.argmax(1)).all()
    for (x, y), chosen in zip(thrust, choice, strict=True):
        way = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])[chosen.argmax()]
        assert chosen.sum() == 1
        assert way @ (x, y) == max(abs(x), abs(y))


@pytest.mark.parametrize("name", ["wave", "chase", "forage"])
def test_each_names_its_world(name):
    with pytest.raises(ValueError, match=f"this policy needs the world '{HOMES[name]}'"):
        BUILTIN[name](make("tennis"))


def test_the_chase_continues_its_stream():
    world = make("pursuit", num_worlds=3)
    policy, observation = BUILTIN["chase"](world, seed=1), world.reset()
    policy.act(observation)
    state = policy.state_dict()
    first = policy.act(observation)["pursuers"]
    policy.load_state_dict(state)
    np.testing.assert_array_equal(policy.act(observation)["pursuers"], first)
