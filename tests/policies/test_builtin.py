"""The policies that need no training: shapes, what they do, and how well."""

import itertools

import numpy as np
import pytest

from marl import make
from marl.policies.builtin import BUILTIN, HOMES
from marl.rollout import collect
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld


def world_of(num_worlds=3, **parameters):
    return ParticleWorld(Spread(**parameters), num_worlds, seed=0)


def coverage(name, num_worlds=100):
    """Of landmarks, at the last step of an episode."""
    world = world_of(num_worlds)
    steps = itertools.islice(collect(world, BUILTIN[name](world)), 100)
    *_, (_, last) = steps
    assert last.done.all()
    return last.metrics["coverage"].mean()


AT_HOME = [name for name in BUILTIN if name not in HOMES]  # in spread


@pytest.mark.parametrize("name", AT_HOME)
@pytest.mark.parametrize(("agents", "landmarks"), [(4, 4), (1, 1), (5, 2), (2, 6)])
def test_actions_fit_the_world(name, agents, landmarks):
    world = world_of(num_agents=agents, num_landmarks=landmarks)
    policy = BUILTIN[name](world)
    for transition, _ in itertools.islice(collect(world, policy), 3):
        actions = transition.action["agents"]
        assert actions.shape == (3, agents, 2)
        assert actions.dtype == np.float32
        assert (np.abs(actions) <= 1).all()


def test_the_oracle_covers_nearly_everything_and_chance_nearly_nothing():
    scores = {name: coverage(name) for name in AT_HOME}
    assert scores["assignment"] > 0.85
    assert scores["random"] < 0.1
    assert scores["still"] < 0.1
    assert scores["random"] < scores["greedy"] < scores["local-assignment"]
    # four agents see one another and every landmark
    assert scores["local-assignment"] == pytest.approx(scores["assignment"], abs=0.02)


def test_random_actions_are_uniform_and_follow_the_seed():
    world = world_of(200)
    observation = world.reset()
    first = BUILTIN["random"](world, seed=1).act(observation)["agents"]
    assert abs(first.mean()) < 0.05
    assert first.var() == pytest.approx(1 / 3, rel=0.05)
    assert np.array_equal(first, BUILTIN["random"](world, seed=1).act(observation)["agents"])
    assert not np.isclose(first, BUILTIN["random"](world, seed=2).act(observation)["agents"]).all()


def test_still_does_nothing():
    world = world_of()
    assert not BUILTIN["still"](world).act(world.reset())["agents"].any()
    moving = {"pursuit": "pursuers", "pistonball": "pistons", "prison": "place"}
    for scenario, name in moving.items():
        discrete = {} if scenario == "pursuit" else {"actions": "discrete"}
        world = make(scenario, **discrete)
        observation, before = world.reset(), world.state_dict()[name]
        world.step(BUILTIN["still"](world).act(observation))
        assert (world.state_dict()[name] == before).all()


# Both agents are nearest to the landmark at (0, 0.05); the other one is at (-0.6, 0).
AGENTS = [(0.04, 0.0), (-0.05, 0.0)]
LANDMARKS = [(0.0, 0.05), (-0.6, 0.0)]


def steer(targets, velocities=0.0, p=10.0, d=1.5):
    """The PD controller that the module's head documents, for targets relative to oneself."""
    return np.clip(p * np.array(targets) - d * np.array(velocities), -1.0, 1.0)


def placed(agents, landmarks, velocities=None, **settings):
    agents, landmarks = np.array([agents]), np.array([landmarks])
    velocities = np.zeros_like(agents) if velocities is None else np.array([velocities])
    world = world_of(1, num_agents=agents.shape[1], num_landmarks=landmarks.shape[1], **settings)
    return world, world.set_state(agents, velocities, landmarks)


def test_greedy_steers_to_the_nearest_landmark_and_brakes():
    velocities = [(0.0, 0.0), (0.1, -0.5)]
    world, seen = placed(AGENTS, LANDMARKS, velocities)
    actions = BUILTIN["greedy"](world).act(seen)["agents"][0]
    np.testing.assert_allclose(actions, steer([(-0.04, 0.05), (0.05, 0.05)], velocities), atol=1e-6)


@pytest.mark.parametrize(
    ("integration", "p", "d"), [("explicit", 3, 3), ("semi_implicit", 10, 1.5)]
)
@pytest.mark.parametrize("name", ["greedy", "local-assignment", "assignment"])
def test_gains_suit_the_integration(name, integration, p, d):
    seen = placed([(0.0, 0.0)], [(0.0, 0.05)], [(0.1, -0.1)], integration=integration)
    action = BUILTIN[name](seen[0]).act(seen[1])["agents"][0]
    np.testing.assert_allclose(action, steer([(0, 0.05)], [(0.1, -0.1)], p, d), atol=1e-6)


@pytest.mark.parametrize("name", ["local-assignment", "assignment"])
def test_assignments_share_the_landmarks_out(name):
    world, seen = placed(AGENTS, LANDMARKS)
    actions = BUILTIN[name](world).act(seen)["agents"][0]
    np.testing.assert_allclose(actions, steer([(-0.04, 0.05), (-0.55, 0.0)]), atol=1e-6)


@pytest.mark.parametrize("name", ["local-assignment", "assignment"])
def test_agents_left_over_brake(name):
    velocities = [(0.05, 0.1), (0.2, -0.1)]
    world, seen = placed(AGENTS, LANDMARKS[:1], velocities)
    actions = BUILTIN[name](world).act(seen)["agents"][0]
    np.testing.assert_allclose(actions, steer([(-0.04, 0.05), (0.0, 0.0)], velocities), atol=1e-6)


def test_the_oracle_assigns_at_the_start_of_an_episode_only():
    """Reset worlds get a new assignment; in the others it stays, wherever agents have gone."""
    agents = np.array([AGENTS, AGENTS])
    landmarks = np.array([LANDMARKS, LANDMARKS])
    world = ParticleWorld(Spread(num_agents=2), 2, seed=0)
    policy = BUILTIN["assignment"](world)
    still = np.zeros_like(agents)
    first = policy.act(world.set_state(agents, still, landmarks))["agents"]
    swapped = world.set_state(agents[:, ::-1], still, landmarks)
    policy.reset(np.array([False, True]))
    after = policy.act(swapped)["agents"]
    np.testing.assert_allclose(after[0], steer(landmarks[0] - agents[0, ::-1]), atol=1e-5)
    np.testing.assert_allclose(after[1], first[1, ::-1], atol=1e-5)


def test_the_oracle_needs_a_particle_world():
    with pytest.raises(ValueError, match="particle world"):
        BUILTIN["assignment"](object())


@pytest.mark.parametrize("name", ["greedy", "local-assignment"])
def test_local_policies_need_landmarks_in_view(name):
    world = world_of()
    seen = world.reset()
    group = world.groups["agents"]
    world.groups = {"agents": type(group)(group.names, group.observation_space, group.action_space)}
    with pytest.raises(ValueError, match="needs observations with a part"):
        BUILTIN[name](world).act(seen)


@pytest.mark.parametrize("name", [*HOMES, "random", "still"])
def test_other_worlds(name):
    world = make(HOMES.get(name, "tennis"), num_worlds=3)
    for transition, _ in itertools.islice(collect(world, BUILTIN[name](world)), 3):
        for g, actions in transition.action.items():
            assert actions.shape == (3, len(world.groups[g]), *world.groups[g].action_space.shape)
            assert actions.dtype == np.float32


@pytest.mark.parametrize("name", [*AT_HOME, *HOMES])
def test_in_a_world_that_is_not_theirs_they_say_so(name):
    world = make("simple" if name in HOMES else "tennis")
    if name in ("random", "still"):
        BUILTIN[name](world)
        return
    with pytest.raises(ValueError, match="need"):
        BUILTIN[name](world)
