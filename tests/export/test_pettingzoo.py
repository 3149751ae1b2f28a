"""The door out: PettingZoo's own tests, the spaces and the game of MPE2, and real clients."""

import importlib
import warnings

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from pettingzoo import test as checks
from worlds.particles.scenarios.test_parity import PAIRS, goals_of

from marl.export import pettingzoo
from marl.rendering import window
from marl.worlds.registry import SCENARIOS

# True of our worlds, and no fault: bounds are infinite, groups differ, nothing was said yet.
HARMLESS = "Agent's m(in|ax)imum observation|.*different|.*all zeros|.*a single number"

# Not PettingZoo's own games, which are slow and need no way back.
OURS = [name for name, kind in SCENARIOS.items() if not kind.slow]

both_kinds = pytest.mark.parametrize("continuous", [False, True])


def small(name, continuous):
    """An environment of that scenario, and MPE2's."""
    pair = PAIRS[name]
    ours = {k: v for k, v in pair.ours.items() if k != "episode_length"}
    theirs = importlib.import_module(f"mpe2.{pair.module}")
    return (
        pettingzoo.parallel_env(name, continuous_actions=continuous, max_cycles=25, **ours),
        theirs.parallel_env(continuous_actions=continuous, max_cycles=25, **pair.theirs),
    )


@both_kinds
@pytest.mark.parametrize("name", OURS)
def test_pettingzoos_own_tests(name, continuous):
    settings = {"continuous_actions": continuous}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=HARMLESS)
        checks.api_test(pettingzoo.env(name, **settings), num_cycles=30)
        checks.parallel_api_test(pettingzoo.parallel_env(name, **settings), num_cycles=30)
        checks.parallel_seed_test(lambda: pettingzoo.parallel_env(name, **settings), 30)
        checks.seed_test(lambda: pettingzoo.env(name, **settings), 30)


def test_cycles_and_pictures(monkeypatch):
    checks.max_cycles_test(pettingzoo)
    shown = []
    monkeypatch.setattr(window.Viewer, "show", lambda viewer, scene: shown.append(viewer.title))
    checks.render_test(lambda render_mode: pettingzoo.env("tag", render_mode=render_mode))
    assert "tag_v0" in shown


@both_kinds
@pytest.mark.parametrize("name", PAIRS)
def test_it_is_mpe2s_game(name, continuous):
    """Names, spaces, and from the same state with the same actions the same observations and
    rewards."""
    ours, theirs = small(name, continuous)
    observation, _ = ours.reset(seed=0)
    theirs.reset(seed=0)
    assert ours.agents == theirs.agents
    for agent in ours.agents:
        assert ours.observation_space(agent) == theirs.observation_space(agent)
        assert ours.action_space(agent) == theirs.action_space(agent)
        assert observation[agent].dtype == np.float32
    world = theirs.unwrapped.world
    arrays = [
        np.array([[getattr(entity.state, what) for entity in entities]]).reshape(1, -1, 2)
        for what, entities in (
            ("p_pos", world.agents), ("p_vel", world.agents), ("p_pos", world.landmarks)
        )
    ]  # fmt: skip
    ours.unwrapped._world.set_state(*arrays, goals=np.array([goals_of(name, world)], float))
    random = np.random.default_rng(0)
    for _ in range(10):
        actions = {}
        for agent in ours.agents:
            space = ours.action_space(agent)
            drawn = random.uniform(0, 1, space.shape).astype(np.float32)
            actions[agent] = int(random.integers(space.n)) if isinstance(space, Discrete) else drawn
        mine, other = ours.step(actions), theirs.step(actions)
        for agent in actions:
            np.testing.assert_allclose(mine[0][agent], other[0][agent], atol=1e-4)
            assert mine[1][agent] == pytest.approx(other[1][agent], abs=1e-3)


def test_the_end_of_an_episode():
    env = pettingzoo.parallel_env(max_cycles=2, num_agents=3)
    env.reset()
    act = dict.fromkeys(env.agents, 0)
    *_, truncations, infos = env.step(act)
    assert not any(truncations.values())
    assert {"coverage", "collisions"} <= infos["agent_0"].keys()
    *_, terminations, truncations, _ = env.step(act)
    assert all(truncations.values())
    assert not any(terminations.values())
    assert env.agents == []
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(act)


def test_seeds():
    def begun(env, seed=None):
        return env.reset(seed=seed)[0]["agent_0"]

    one, other = (pettingzoo.parallel_env("simple") for _ in range(2))
    assert not np.array_equal(begun(one), begun(other))  # nobody chose a seed
    first = begun(one, 7)
    assert np.array_equal(first, begun(other, 7))
    assert not np.array_equal(first, begun(one))  # goes on with its stream
    assert np.array_equal(first, begun(one, 7))
    assert not np.array_equal(first, begun(one, 8))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scenario": "nowhere"}, "no scenario is called 'nowhere'"),
        ({"render_mode": "ascii"}, "render_mode is 'ascii', but can be 'human', 'rgb_array' or"),
        ({"actions": "discrete"}, "set continuous_actions"),
        ({"num_agents": 0}, "num_agents"),
    ],
)
def test_bad_settings_are_named(settings, said):
    with pytest.raises(ValueError, match=said):
        pettingzoo.parallel_env(**settings)


def test_bad_actions_are_named():
    env = pettingzoo.parallel_env(num_agents=2)
    env.reset()
    with pytest.raises(ValueError, match=r"no action of 'agent_1'; the agents are \['agent_0'"):
        env.step({"agent_0": 1})
    with pytest.raises(ValueError, match=r"the action of 'agent_0' is 5; it should be in Disc"):
        env.step({"agent_0": 5, "agent_1": 0})
    env = pettingzoo.parallel_env(num_agents=2, continuous_actions=True)
    env.reset()
    with pytest.raises(ValueError, match=r"the action of 'agent_0' has shape \(2,\), not \(5,\)"):
        env.step({"agent_0": np.zeros(2), "agent_1": np.zeros(5)})


def test_numbers_are_as_our_worlds_take_them():
    """A world whose actions are no choices: Box(-1, 1)."""
    from marl.worlds.registry import make

    env = pettingzoo.WorldEnv(make("simple", seed=0), "simple")
    env.reset()
    assert env.action_space("agent_0") == Box(-1.0, 1.0, (2,))
    for _ in range(3):
        observation, *_ = env.step({"agent_0": np.array([1.0, 0.0])})
    assert observation["agent_0"][0] > 0
    assert env.state().shape == env.state_space.shape


@pytest.mark.filterwarnings("ignore")
def test_supersuit_and_stable_baselines_train():
    supersuit = pytest.importorskip("supersuit")
    sb3 = pytest.importorskip("stable_baselines3")
    env = pettingzoo.parallel_env(num_agents=2, continuous_actions=True)
    envs = supersuit.concat_vec_envs_v1(
        supersuit.pettingzoo_env_to_vec_env_v1(env), 2, num_cpus=0, base_class="stable_baselines3"
    )
    assert envs.num_envs == 4
    sb3.PPO("MlpPolicy", envs, n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["tag", "speaker_listener"])
def test_torchrl_trains(name):
    """A policy for each group, one step of REINFORCE."""
    envs = pytest.importorskip("torchrl.envs")
    import torch
    from tensordict.nn import TensorDictModule
    from torchrl.envs.utils import check_env_specs

    env = envs.PettingZooWrapper(pettingzoo.parallel_env(name), categorical_actions=True)
    check_env_specs(env)
    played = env.rollout(30)
    assert played.batch_size == (25,)
    assert set(env.group_map) == {"tag": {"adversary", "agent"}}.get(name, {"speaker", "listener"})
    for group in env.group_map:
        seen, done = played[group, "observation"], played[group, "action"]
        layer = torch.nn.Linear(seen.shape[-1], env.action_spec[group, "action"].space.n)
        policy = TensorDictModule(
            layer, in_keys=[(group, "observation")], out_keys=[(group, "logits")]
        )
        before = layer.weight.detach().clone()
        logits = policy(played)[group, "logits"].log_softmax(-1)
        chosen = logits.gather(-1, done[..., None])[..., 0]
        better = played["next", group, "reward"][..., 0] + 1.0  # than what is seldom touched
        loss = -(chosen * better).mean()
        loss.backward()
        torch.optim.SGD(layer.parameters(), lr=0.1).step()
        assert (layer.weight != before).any()


@pytest.mark.parametrize(
    ("given", "moves"),
    [({}, False), ({"integration": "explicit"}, False), ({"integration": "semi_implicit"}, True)],
)
def test_the_first_action_moves_nobody_as_in_mpe2_unless_asked(given, moves):
    env = pettingzoo.parallel_env("spread", observation="everything", **given)
    before, _ = env.reset(seed=0)
    after, *_ = env.step(dict.fromkeys(env.agents, 2))
    for name in env.agents:
        assert (before[name][2:4] != after[name][2:4]).any() == moves
