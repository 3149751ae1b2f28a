"""Knights, archers and zombies: PettingZoo's game behind observations that do not grow."""

import numpy as np
import pytest
from missing import hide
from tiny import TINY

from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.runs.loading import find_policy
from marl.testing.check_world import check_world
from marl.training.loop import train
from marl.worlds.pettingzoo.kaz import MODULE, PLAYERS, Kaz, KazEnv, nearest
from marl.worlds.registry import make
from marl.worlds.spaces import pieces

SCREEN, LENGTH = np.array([1280, 720]), 360


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pytest.importorskip(MODULE)


def test_it_keeps_the_promises_of_a_world():
    check_world(make("kaz", num_worlds=2, processes=0, episode_length=12, spawn_delay=3))


def sorted_rows(rows, flags):
    """PettingZoo's rows [M, 5] of what is there, nearest first, as ours: place, heading, flag."""
    place = rows[:, 1:3] * SCREEN * (1, -1) / LENGTH
    ours = np.concatenate([place, rows[:, 3:] * (1, -1), flags[:, None]], 1)[rows[:, 3:].any(1)]
    return ours[np.argsort(np.hypot(*ours[:, :2].T).round(6), kind="stable")]


def check_seen(seen, rows, agent, scenario):
    """The observation of a player against that of PettingZoo, (M + 1) x 5."""
    half, arrows = scenario.num_agents // 2, scenario.max_arrows
    parts = pieces(scenario.groups[PLAYERS].observation_parts, seen)
    place = (rows[0, 1:3] - 0.5) * SCREEN * (1, -1) / LENGTH
    own = [*place, *rows[0, 3:] * (1, -1), agent.startswith("archer")]
    np.testing.assert_allclose(parts["own"][0], own, atol=1e-6)
    fellows, swords, shot, zombies = np.split(rows[1:], np.cumsum([2 * half, half, arrows]))
    number = [*scenario.groups[PLAYERS].names].index(agent)
    kinds = {
        "fellows": (np.delete(fellows, number, 0), np.delete([1.0] * half + [0.0] * half, number)),
        "weapons": (np.concatenate([swords, shot]), np.repeat([1.0, 0.0], [half, arrows])),
        "zombies": (zombies, np.ones(len(zombies))),
    }
    for name, (theirs, flags) in kinds.items():
        expected, shown = sorted_rows(theirs, flags), parts[name][parts[name][:, -1] == 1]
        expected = expected[: len(parts[name]), [0, 1] if name == "zombies" else slice(None)]
        np.testing.assert_allclose(shown[:, :-1], expected, atol=1e-6)
        assert not parts[name][len(shown) :].any()


@pytest.mark.parametrize("agents", [4, 6])
def test_it_is_pettingzoos_game(agents):
    from pettingzoo.butterfly import knights_archers_zombies_v11

    scenario = Kaz(num_agents=agents, spawn_delay=4, episode_length=120)
    half, rng = agents // 2, np.random.default_rng(2)
    ours = KazEnv(scenario)
    real = knights_archers_zombies_v11.parallel_env(
        num_archers=half, num_knights=half, spawn_delay=4, max_cycles=120
    )
    seen, rows, kills = ours.reset(seed=5)[0], real.reset(seed=5)[0], 0.0
    while ours.agents:
        for agent in rows:
            check_seen(seen[agent], rows[agent], agent, scenario)
        names = ours.agents
        wanted = {a: int(rng.choice([0, 2, 3, 4, 4, 4, 5])) for a in names}
        seen, *told = ours.step(wanted)
        rows, *said = real.step(wanted)
        assert told[:3] == said[:3]
        kills += sum(said[0].values())
    assert not real.agents
    assert kills > 1
    assert ours.measures["kills"] == kills
    assert ours.measures["return"] == kills / agents


def test_players_leave():
    """The archer walks over the upper edge, the knight stays until time runs out."""
    world = make(
        "kaz", processes=0, line_death=True, spawn_delay=999, num_agents=2, episode_length=60
    )
    seen = world.reset()[PLAYERS][0]
    moves = np.zeros((1, 2, 6), np.float32)
    moves[0, 0, 0] = moves[0, 1, 5] = 1.0  # forward; nothing
    lived, fellow = np.zeros(2), []
    for _ in range(60):
        step = world.step({PLAYERS: moves})
        lived += step.present[PLAYERS][0]
        parts = pieces(world.groups[PLAYERS].observation_parts, step.observation[PLAYERS][0])
        fellow.append(parts["fellows"][1, 0, -1])
    assert seen[0].any()
    assert 20 < lived[0] < 40
    assert lived[1] == 60
    assert sum(fellow) == lived[0] - 1  # the knight sees the archer as long as it is there
    assert step.terminated[PLAYERS][0].tolist() == [True, False]
    assert not step.active[PLAYERS].any()
    assert step.done[0]
    assert step.truncated[0]
    assert not step.observation[PLAYERS][0, 0].any()
    assert step.metrics["survived"][0] == pytest.approx(lived.mean())
    assert step.metrics["kills"][0] == 0


def test_the_nearest_things_by_hand():
    offset = np.array([[[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]]])
    more = np.array([[30.0], [10.0], [20.0]])
    visible = np.array([[True, False, True]])
    np.testing.assert_array_equal(
        nearest(offset, visible, more, 4)[0].reshape(4, 4),
        [[0, 2, 20, 1], [3, 0, 30, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
    )
    assert nearest(offset, visible, more, 1)[0].tolist() == [0, 2, 20, 1]
    assert nearest(offset, visible, more, 0).shape == (1, 0)


@pytest.mark.long
def test_a_set_policy_of_two_plays_with_more(data):
    world = {"scenario": "kaz", "num_agents": 2, "episode_length": 10, "processes": 0}
    agent = {"name": "ippo", "network": "set", "hidden": [8]}
    training = {"steps": 40, "num_worlds": 2, "log_every": 20}
    config = {"world": world, "agent": agent, "exploration": {}, "training": training}
    train(parse_config({**TINY, **config}), "a")
    found = find_policy("a")
    more = found.world_for(8).make_world(1, 0)
    assert found.policy(more, 0).act(more.reset())[PLAYERS].shape == (1, 8, 6)
    with pytest.raises(UserError, match="num_agents is 5, but should be even"):
        found.world_for(5)


def test_what_is_missing_is_named_when_a_world_is_made(monkeypatch):
    scenario = Kaz()
    hide(monkeypatch, "pygame", "pettingzoo.butterfly.knights")
    with pytest.raises(UserError, match=r"'kaz' cannot be made.*; pip install 'marl\[butterfly\]'"):
        scenario.make_world(1, 0)
