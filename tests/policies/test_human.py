"""A human's arrow keys."""

import itertools
from collections import deque

import numpy as np
import pytest

from marl.cli import main
from marl.errors import UserError
from marl.evaluation import scenes
from marl.policies.builtin import BUILTIN
from marl.policies.human import HumanPolicy, Keyboard
from marl.rollout import collect
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.registry import make
from marl.worlds.tennis.world import Tennis


def test_hands():
    hands = Keyboard()
    assert hands.push.tolist() == [0, 0]
    assert hands.way == (0, 0)
    for key in ("LEFT", "UP", "A"):
        hands.press(key)
    assert hands.push.tolist() == [-1, 1]
    assert hands.way == (0, 1)  # the last one
    hands.release("UP")
    hands.release("DOWN")
    assert hands.push.tolist() == [-1, 0]
    assert hands.way == (-1, 0)
    hands.press("RIGHT")
    assert hands.push.tolist() == [0, 0]


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
@pytest.mark.parametrize(
    ("key", "way"), [("LEFT", (-1, 0)), ("RIGHT", (1, 0)), ("DOWN", (0, -1)), ("UP", (0, 1))]
)
def test_an_agent_goes_where_the_keys_say_and_the_others_their_way(actions, key, way):
    world = make("adversary", actions=actions, seed=0, integration="semi_implicit")
    hands = Keyboard()
    policy = HumanPolicy(BUILTIN["still"](world), world.groups, "agent_1", hands)
    hands.press(key)
    turns = collect(world, policy)
    next(turns)
    before, _ = world.positions()
    next(turns)
    after, _ = world.positions()
    moved = (after - before)[0]
    assert np.sign(np.round(moved[-1], 6)).tolist() == list(way)
    assert np.abs(moved[:-1]).max() < 1e-6


@pytest.mark.parametrize(
    ("keys", "way"),
    [(["LEFT"], (-1, 0)), (["UP"], (0, 1)), (["RIGHT", "DOWN"], (0, -1)), ([], (0, 0))],
)
def test_the_keys_lead_where_the_world_says_that_its_moves_lead(keys, way):
    """Pursuit has another order of moves than particle worlds."""
    world, hands = make("pursuit"), Keyboard()
    policy = HumanPolicy(BUILTIN["still"](world), world.groups, "pursuer_3", hands)
    for key in keys:
        hands.press(key)
    action = policy.act(world.reset())["pursuers"][0]
    ways = world.groups["pursuers"].action_parts[0].directions
    assert [ways[i] for i in action.argmax(1)] == [(0, 0)] * 3 + [way] + [(0, 0)] * 4


@pytest.mark.parametrize(
    ("scenario", "agent", "keys", "choice"),
    [
        ("pistonball", "piston_0", ["UP"], 2),
        ("pistonball", "piston_0", ["DOWN"], 0),
        ("pistonball", "piston_0", ["LEFT"], 1),  # there is no such move
        ("pistonball", "piston_0", [], 1),
        ("prison", "prisoner_0", ["LEFT"], 0),
        ("prison", "prisoner_0", ["UP"], 1),
    ],
)
def test_a_key_without_a_move_is_to_stay(scenario, agent, keys, choice):
    world, hands = make(scenario, actions="discrete"), Keyboard()
    policy = HumanPolicy(BUILTIN["random"](world), world.groups, agent, hands)
    for key in keys:
        hands.press(key)
    (action,) = policy.act(world.reset()).values()
    assert action[0, 0].tolist() == [i == choice for i in range(3)]


@pytest.mark.parametrize(
    ("actions", "up"), [("continuous", [0.0, 1.0]), ("discrete", [0.0, 0.0, 0.0, 0.0, 1.0])]
)
def test_a_swimmer_goes_where_the_keys_say(actions, up):
    world, hands = make("waterworld", actions=actions), Keyboard()
    policy = HumanPolicy(BUILTIN["still"](world), world.groups, "pursuer_1", hands)
    hands.press("UP")
    assert policy.act(world.reset())["pursuers"][0, 1].tolist() == up


@pytest.mark.parametrize("player", [0, 1])
@pytest.mark.parametrize(("key", "way"), [("LEFT", (-1, 0)), ("RIGHT", (1, 0)), ("UP", (0, 1))])
def test_a_racket_goes_where_the_keys_say(player, key, way):
    """To the right is to the right on the screen, whichever way the player looks; up is a jump."""
    hands = Keyboard()
    hands.press(key)
    scenario = Tennis()
    world = scenario.make_world(1, 0)
    name = f"player_{player}"
    still = BUILTIN["still"](world)
    policy = HumanPolicy(still, world.groups, name, hands, scenario.reaches[name])
    observation = world.reset()
    before = world._state["rackets"].copy()
    deque(itertools.islice(collect(world, policy, observation=observation), 2), 0)
    moved = (world._state["rackets"] - before)[0, :, :2]
    assert moved[player, 0] == pytest.approx(2 * 0.9 * way[0])
    assert (moved[player, 1] > 0) == (way[1] > 0)
    assert moved[1 - player, 0] == 0.0


def test_who_cannot_be_played_is_said():
    world = make("speaker_listener")
    still = BUILTIN["still"](world)
    with pytest.raises(UserError, match="no agent 'bob' to play; there are speaker_0, listener_0"):
        HumanPolicy(still, world.groups, "bob", Keyboard())
    with pytest.raises(UserError, match="speaker_0 cannot move"):
        HumanPolicy(still, world.groups, "speaker_0", Keyboard())
    for scenario, agent in (("pistonball", "piston_0"), ("prison", "prisoner_0")):
        world = make(scenario, actions="continuous")
        with pytest.raises(UserError, match=f"{agent} moves by one number.*actions=discrete"):
            HumanPolicy(BUILTIN["still"](world), world.groups, agent, Keyboard())
    with pytest.raises(UserError, match=r"agent_0, .*agent_19, \.\.\."):
        scenes(BUILTIN["still"], Spread(num_agents=100), hands={"x": Keyboard()})


def test_without_a_window_there_are_no_keys(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["render", "still", "--play", "agent_0"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "marl: --play needs --window, in which the keys are heard\n"
