"""PettingZoo's pursuit_v5 behind our observations: as ours from the same start."""

import numpy as np
import pytest
from tiny import TINY

from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.policies.builtin import BUILTIN
from marl.runs.loading import find_policy
from marl.testing.check_world import check_world
from marl.training.loop import train
from marl.worlds.pursuit import rules
from marl.worlds.pursuit.real import MODULE, PursuitEnv, RealPursuit
from marl.worlds.registry import make
from marl.worlds.spaces import one_hot


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pytest.importorskip(MODULE)


def test_it_keeps_the_promises_of_a_world():
    few = {"num_agents": 2, "x_size": 6, "y_size": 6, "episode_length": 10}
    check_world(make("real_pursuit", num_worlds=2, processes=0, **few))


SETTINGS = [
    {"num_agents": 3, "episode_length": 40},
    {"num_agents": 4, "obs_range": 5, "shared_reward": False, "surround": False, "n_catch": 1},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_same_start_and_actions_give_the_same(settings):
    """The start is PettingZoo's. Evaders are frozen, as each game moves them by chance of its
    own."""
    rng, config = np.random.default_rng(0), RealPursuit(freeze_evaders=True, **settings)
    env = PursuitEnv(config)
    seen, _ = env.reset(seed=1)
    game = env.env.unwrapped.env
    world = make("pursuit", freeze_evaders=True, **settings)
    world.reset()
    state = world.state_dict()
    layers = {"pursuers": game.pursuer_layer, "evaders": game.evader_layer}
    for name, layer in layers.items():
        state[name][0] = [layer.get_position(i) for i in range(layer.n_agents())]
    world.load_state_dict(state)
    ours = world.reset(np.zeros(1, bool))["pursuers"][0]
    for _ in range(40):
        np.testing.assert_array_equal(ours, [*seen.values()])
        chosen = rng.integers(len(rules.MOVES), size=config.num_agents)
        step = world.step({"pursuers": one_hot(chosen, len(rules.MOVES))[None]})
        seen, rewards, ended, late, _ = env.step(
            dict(zip(env.agents, chosen.tolist(), strict=True))
        )
        ours = step.observation["pursuers"][0]
        np.testing.assert_allclose(step.reward["pursuers"][0], [*rewards.values()], atol=1e-5)
        for name in ("caught", "return"):
            assert step.metrics[name][0] == pytest.approx(env.measures[name], abs=1e-3)
        assert [step.done[0]] == [any(ended.values()) or any(late.values())]
        if step.done[0]:
            break
    if not config.surround:
        assert env.measures["caught"] > 0


def test_its_world_reports_what_the_environment_does():
    world = make("real_pursuit", processes=0, num_agents=2, episode_length=5)
    policy, observation, total = BUILTIN["random"](world), world.reset(), 0.0
    for _ in range(5):
        step = world.step(policy.act(observation))
        observation = step.observation
        total += step.reward["pursuers"].sum()
    assert step.done[0]
    assert [*step.metrics] == ["caught", "return"]
    assert step.metrics["return"][0] == pytest.approx(total, abs=1e-4)


def test_a_run_of_pursuit_plays_there(data):
    world = {"scenario": "pursuit", "num_agents": 2, "episode_length": 6}
    training = {"steps": 40, "num_worlds": 2, "log_every": 20}
    agent = {"name": "ippo", "hidden": [8]}
    config = {"world": world, "agent": agent, "exploration": {}, "training": training}
    train(parse_config({**TINY, **config}), "a")
    found = find_policy("a", ["world.scenario=real_pursuit", "world.processes=0"])
    assert found.scenario == "real_pursuit"
    assert found.world == RealPursuit(num_agents=2, episode_length=6, processes=0)
    named = find_policy("a", ["world.scenario=pettingzoo:sisl/pursuit_v5", "world.processes=0"])
    assert (named.scenario, named.world) == ("real_pursuit", found.world)
    real = found.world_for(4).make_world(1, 0)
    assert found.policy(real, 0).act(real.reset())["pursuers"].shape == (1, 4, 5)
    said = "world.scenario is 'spread', but the policy was trained in 'pursuit'"
    with pytest.raises(UserError, match=said):
        find_policy("a", ["world.scenario=spread"])
    foreign = "pettingzoo:butterfly/pistonball_v6"
    with pytest.raises(UserError, match=f"world.scenario is '{foreign}', but the policy was trai"):
        find_policy("a", [f"world.scenario={foreign}"])
    with pytest.raises(UserError, match="no scenario is called 'real_pursuti'"):
        find_policy("a", ["world.scenario=real_pursuti"])
