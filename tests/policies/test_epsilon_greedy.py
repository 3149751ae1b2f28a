"""Greedy play with a few random actions."""

import numpy as np
import pytest

from marl.agents.core.base import View
from marl.policies.builtin import Still
from marl.policies.epsilon_greedy import EpsilonGreedy, epsilon_greedy
from marl.worlds.pursuit.world import TEAM, Pursuit


@pytest.fixture(scope="module")
def world():
    return Pursuit(num_agents=50, num_evaders=5).make_world(20, 0)


def acted(world, epsilon, seed=0, explore=False):
    policy = EpsilonGreedy(Still(world), world.groups, epsilon, seed)
    perceived = policy.perceive(View(world.reset()))
    return policy.act(perceived, explore)[TEAM]


def test_so_many_actions_are_random(world):
    still = acted(world, 0.0)
    assert (still.argmax(-1) == 4).all()
    moved = acted(world, 0.3).argmax(-1)  # 1000 agents
    shares = [(moved == move).mean() for move in range(4)]
    assert shares == pytest.approx([0.06] * 4, abs=0.03)  # 0.3 of five moves each
    assert (moved == 4).mean() == pytest.approx(0.76, abs=0.05)


def test_agents_are_disturbed_one_by_one_and_by_the_seed(world):
    one, same, other = (acted(world, 0.3, seed) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    assert len({row.tobytes() for row in one}) == len(one)  # each world otherwise


def test_exploration_is_the_policy_s_own(world):
    assert (acted(world, 1.0, explore=True) == acted(world, 0.0)).all()


def test_none_is_greedy(world):
    policy = Still(world)
    assert epsilon_greedy(policy, world.groups, 0.0, 0) is policy


def test_random_actions_are_legal():
    class OnlyTwo:
        """Choices of which the first two are legal."""

        def legal(self, rows):
            return np.broadcast_to(np.arange(5) < 2, (*rows.shape[:2], 5))

        def random_actions(self, rng, *shape, legal):
            return world.groups[TEAM].random_actions(rng, *shape, legal=legal)

    world = Pursuit(num_agents=10, num_evaders=5).make_world(10, 0)
    policy = EpsilonGreedy(Still(world), {TEAM: OnlyTwo()}, 1.0, 0)
    chosen = policy.act(policy.perceive(View(world.reset())))[TEAM].argmax(-1)
    assert set(np.unique(chosen)) == {0, 1}
