"""collect(): true next observations, resets where a world is done, and only there."""

import itertools

import numpy as np
import pytest

from marl.agents.core.base import Needs, Policy
from marl.errors import UserError
from marl.rollout import collect
from marl.worlds.base import World
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld


class Recorder(Policy):
    """Pushes to the right, and notes what it is asked."""

    def __init__(self):
        self.resets, self.seen, self.explore = [], [], []

    def act(self, observation, explore=False):
        self.seen.append(observation["agents"])
        self.explore.append(explore)
        action = np.zeros((*observation["agents"].shape[:2], 2), np.float32)
        action[..., 0] = 0.5
        return {"agents": action}

    def reset(self, mask=None):
        self.resets.append(None if mask is None else mask.tolist())


def staggered():
    """Three worlds of six steps that end at steps 6, 4 and 2 first."""
    return ParticleWorld(Spread(num_agents=3, episode_length=6), 3, seed=0, staggered=True)


def collected(world, policy, turns, **options):
    return list(itertools.islice(collect(world, policy, **options), turns))


def test_the_next_observation_is_the_true_one_at_the_end_of_an_episode():
    """Agents that have been pushed move; those of a new episode are at rest."""
    policy = Recorder()
    turns = collected(staggered(), policy, 9)
    ends = [(t, e) for t, turn in enumerate(turns, 1) for e in np.flatnonzero(turn.step.done)]
    assert ends == [(2, 2), (4, 1), (6, 0), (8, 2)]
    for t, e in ends:
        old = turns[t - 1].transition.next_observation["agents"][e]
        new = turns[t].transition.observation["agents"][e]
        assert (old[:, 0] > 0.1).all()
        assert (new[:, :2] == 0).all()
        assert not turns[t - 1].transition.terminated["agents"][e].any()


def test_worlds_that_are_not_done_go_on():
    turns = collected(staggered(), Recorder(), 9)
    for before, after in itertools.pairwise(turns):
        going = ~before.step.done
        old, new = before.transition.next_observation, after.transition.observation
        np.testing.assert_array_equal(old["agents"][going], new["agents"][going])


def test_transitions_are_what_happened():
    policy, world = Recorder(), staggered()
    for t, (transition, step) in enumerate(itertools.islice(collect(world, policy), 9)):
        assert transition.observation["agents"] is policy.seen[t]
        assert (transition.action["agents"] == [0.5, 0.0]).all()
        assert transition.reward is step.reward
        assert transition.next_observation is step.observation
        # between turns the world shows how the step ended
        np.testing.assert_array_equal(world.velocities(), step.observation["agents"][..., :2])


def test_the_policy_is_told_of_new_episodes():
    policy = Recorder()
    collected(staggered(), policy, 7)
    assert policy.resets == [None, [False, False, True], [False, True, False], [True, False, False]]


def test_explore_is_handed_on():
    for explore in (False, True):
        policy = Recorder()
        collected(staggered(), policy, 3, explore=explore)
        assert policy.explore == [explore] * 3


def test_goes_on_from_an_observation():
    """A restored world continues its episodes."""
    world, restored = staggered(), staggered()
    collected(world, Recorder(), 3)
    state = world.state_dict()
    observation = world.reset(np.zeros(3, bool))
    expected = collected(world, Recorder(), 5, observation=observation)
    restored.load_state_dict(state)
    policy = Recorder()
    again = collected(restored, policy, 5, observation=restored.reset(np.zeros(3, bool)))
    assert None not in policy.resets
    for one, other in zip(expected, again, strict=True):
        ours, theirs = one.transition, other.transition
        assert ours.observation["agents"].tobytes() == theirs.observation["agents"].tobytes()
        assert ours.reward["agents"].tobytes() == theirs.reward["agents"].tobytes()


class Sociable(Policy):
    """Wants to know its two nearest, and keeps who they were."""

    needs = Needs(neighbours=(2, 0))

    def __init__(self):
        self.told, self.asked = [], []

    def perceive(self, view):
        self.near = view.neighbours["agents"].agents
        return view.observation

    def act(self, observation, explore=False):
        self.told.append(self.near)
        self.asked.append((observation["agents"], explore))
        return {"agents": np.full((*observation["agents"].shape[:2], 2), 0.5, np.float32)}

    def recorded(self):
        return {"near": {"agents": self.told[-1]}}


def test_neighbours_are_those_of_the_observation():
    """Also at the start of an episode; and what the policy records of them goes with its step."""
    policy = Sociable()
    turns = collected(staggered(), policy, 9, explore=True)
    for turn, numbers, (rows, explore) in zip(turns, policy.told, policy.asked, strict=True):
        transition = turn.transition
        assert transition.observation["agents"] is rows
        assert transition.added["near"]["agents"] is numbers
        assert explore
        assert numbers.shape == (3, 3, 2)
        seen = rows[..., 2:12].reshape(3, 3, 2, 5)[..., :2]  # where the two nearest are
        for e, i in np.ndindex(3, 3):
            back = np.flatnonzero(numbers[e, numbers[e, i, 0]] == i)[0]
            np.testing.assert_allclose(seen[e, i, 0], -seen[e, numbers[e, i, 0], back], atol=1e-6)


def test_others_are_called_with_two_arguments_and_record_nothing():
    class Strict(Recorder):
        def act(self, *arguments):
            assert len(arguments) == 2
            return super().act(*arguments)

    for turn in collected(staggered(), Strict(), 3):
        assert not turn.transition.added


def test_a_world_without_neighbours_says_so():
    class Secretive(ParticleWorld):
        neighbours = World.neighbours

    world = Secretive(Spread(num_agents=3))
    with pytest.raises(UserError, match="cannot play here: Secretive does not say which"):
        collected(world, Sociable(), 1)
