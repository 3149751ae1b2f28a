"""The team as one agent: Gymnasium's checkers, and many worlds against single ones."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, MultiDiscrete
from gymnasium.utils.env_checker import check_env

import marl
from marl.export.gymnasium import Team
from marl.worlds.registry import SCENARIOS
from marl.worlds.spaces import Group

OURS = [name for name, kind in SCENARIOS.items() if not kind.slow]  # not PettingZoo's own games


def test_every_scenario_of_ours_has_an_id():
    known = [name for name in gymnasium.registry if name.startswith("marl/")]
    assert known == [f"marl/{name}-v0" for name in OURS]


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
@pytest.mark.parametrize("name", OURS)
def test_gymnasiums_own_checker(name, actions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*infinity")  # as MPE2's
        takes = "actions" in SCENARIOS[name].model_fields
        settings = {"actions": actions} if takes else {}
        env = gymnasium.make(f"marl/{name}-v0", render_mode="rgb_array", **settings)
        check_env(env.unwrapped)


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
def test_many_worlds_are_as_many_single_ones(actions):
    """Gymnasium's own way to many worlds, one after the other: the same to the last bit, resets and
    seeds included."""
    settings = {"num_envs": 5, "num_agents": 3, "episode_length": 7, "actions": actions}
    ours = gymnasium.make_vec("marl/spread-v0", **settings)
    single = gymnasium.make_vec("marl/spread-v0", **settings, vectorization_mode="sync")
    assert ours.single_observation_space == single.single_observation_space
    assert ours.action_space == single.action_space
    ours.action_space.seed(0)
    np.testing.assert_array_equal(ours.reset(seed=3)[0], single.reset(seed=3)[0])
    mask = np.array([True, False, True, False, False])
    for t in range(30):
        if t == 11:  # from now on they do not end together
            begun, _ = ours.reset(options={"reset_mask": mask})
            np.testing.assert_array_equal(begun, single.reset(options={"reset_mask": mask})[0])
        actions = ours.action_space.sample()
        mine, other = ours.step(actions), single.step(actions)
        for one, two in zip(mine[:4], other[:4], strict=True):
            np.testing.assert_array_equal(one, two)
            assert one.dtype == two.dtype
        assert mine[4].keys() == other[4].keys()
        for key, values in mine[4].items():
            np.testing.assert_allclose(values, other[4][key])


def test_the_team_sees_all_acts_for_all_and_has_their_mean():
    env = gymnasium.make("marl/adversary-v0").unwrapped
    sizes = [(len(x), x.observation_space.shape[0]) for x in env.world.groups.values()]
    assert sizes == [(1, 8), (2, 10)]
    assert env.observation_space.shape == (28,)
    assert env.action_space == Box(-1.0, 1.0, (6,), np.float32)
    observation, _ = env.reset(seed=1)
    apart = env.world.reset(np.zeros(1, bool))
    np.testing.assert_array_equal(observation[8:18], apart["good"][0, 0])
    before = env.world.positions()[0]
    action = np.array([0, 0, 1, 0, 0, -1], np.float32)
    for _ in range(2):
        _, reward, *_ = env.step(action)
    moved = np.sign(env.world.positions()[0] - before)[0]
    assert moved.tolist() == [[0, 0], [1, 0], [0, -1]]
    env.reset(seed=1)
    env.world.step(env._team.actions(action[None]))
    step = env.world.step(env._team.actions(action[None]))
    each = [*step.reward["adversaries"][0], *step.reward["good"][0]]
    assert reward == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("given", "moves"),
    [({}, False), ({"integration": "explicit"}, False), ({"integration": "semi_implicit"}, True)],
)
def test_the_first_action_moves_nobody_as_in_mpe2_unless_asked(given, moves):
    env = gymnasium.make("marl/spread-v0", observation="everything", num_agents=1, **given)
    before, _ = env.reset(seed=0)
    after, *_ = env.step(np.ones(2, np.float32))
    assert (before[2:4] != after[2:4]).any() == moves


def test_choices_of_all():
    env = gymnasium.make("marl/speaker_listener-v0", actions="discrete").unwrapped
    assert env.action_space == MultiDiscrete([3, 5])
    acted = env._team.actions(np.array([[2, 4]]))
    assert acted["speakers"].tolist() == [[[0, 0, 1]]]
    assert acted["listeners"].tolist() == [[[0, 0, 0, 0, 1]]]


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="render_mode is 'human', but can be 'rgb_array' or None"):
        gymnasium.make_vec("marl/spread-v0", render_mode="human")
    with pytest.raises(ValueError, match="2 seeds are given for 3 worlds"):
        gymnasium.make_vec("marl/spread-v0", num_envs=3).reset(seed=[1, 2])
    world = marl.make("simple", actions="discrete")
    group = world.groups["agents"]
    numbers = Group(group.names, group.observation_space, Box(-1, 1, (2,)))
    world.groups = {"a": group, "b": numbers}
    with pytest.raises(ValueError, match="some actions are numbers and others choices"):
        Team(world)


@pytest.mark.filterwarnings("ignore")
def test_stable_baselines_trains():
    sb3 = pytest.importorskip("stable_baselines3")
    env = gymnasium.make("marl/spread-v0", num_agents=2)
    model = sb3.PPO("MlpPolicy", env, n_steps=32, batch_size=16, n_epochs=1, device="cpu")
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(64)
    pairs = zip(before, model.policy.parameters(), strict=True)
    assert any((one != other).any() for one, other in pairs)
