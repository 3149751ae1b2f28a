"""Pistonball beside PettingZoo's pistonball_v6: step for step, and in the mean."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pymunk")
sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from pistonball import POLICIES, game, returns

from marl.worlds.pistonball.real import RealPistonball
from marl.worlds.pistonball.world import PISTONS, Pistonball

JOINT = 3.14  # standard errors: six intervals of this half-width hold together with 99 %

# Means and standard errors of PettingZoo 1.27.0 with pymunk 7.3.1, in 1000 episodes each:
# python benchmarks/pistonball.py returns
REAL = {
    (5, "random"): (28.37, 1.88),
    (5, "random, discrete"): (32.08, 1.93),
    (5, "wave"): (88.14, 0.96),
    (20, "random"): (-4.24, 0.41),
    (20, "random, discrete"): (-2.51, 0.46),
    (20, "wave"): (83.14, 1.11),
}


class Watched:
    """PettingZoo's environment and ours, from the same starts. `contacts`: so far; `most`: in a
    tick; `ordered`: in all ticks of the episode, the engine has visited them in our order."""

    def __init__(self, **settings):
        self.real = RealPistonball(**settings).make_world(1, 0)
        self.ours = Pistonball(**settings).make_world(1, 0)
        self.contacts = self.most = 0

    def start(self, ball=None, heights=None):
        self.real.reset()
        self.ours.reset()
        env = self.real.envs[0]
        if ball is not None:
            env.ball.position, env.ball.angular_velocity = ball, 0.0
            env.ball_prev_pos = ball[0] - 40
            for piston, y in zip(env.pistonList, heights, strict=True):
                piston.position = piston.position.x, y
            self.real.read(0)
        court = self.ours.court
        court.ball[:], court.pistons[:] = self.real.court.ball, self.real.court.pistons
        court.start[:] = self.real.court.start
        walls = [shape for shape in env.space.shapes if shape.body is env.space.static_body]
        self._number = {wall: 100_000 - i for i, wall in enumerate(walls)}
        for i, piston in enumerate(env.pistonList):
            self._number |= dict.fromkeys(piston.shapes, -i)
        self._tick, self.ordered = [], True
        env.space.on_collision(post_solve=self._touch)
        step = env.space.step
        env.space.step = lambda dt: (self._tick.clear(), step(dt), self._count())

    def _touch(self, arbiter, space, data):
        self._tick += [self._number[shape] for shape in arbiter.shapes if shape in self._number]

    def _count(self):
        self.contacts += len(self._tick)
        self.most = max(self.most, len(self._tick))
        self.ordered &= self._tick == sorted(self._tick)

    def equal_steps(self, choose):
        """Play an episode, until the engine visits the contacts of a tick in another order than
        ours. All steps before must be equal. Returns their number."""
        for steps in range(125):
            actions = {PISTONS: choose(self.ours.groups[PISTONS])}
            theirs, mine = self.real.step(actions), self.ours.step(actions)
            if not self.ordered:
                return steps
            balls = (world.court.ball[:, :6] for world in (self.ours, self.real))
            np.testing.assert_allclose(*balls, atol=1e-6)
            for name in ("observation", "reward", "terminated"):
                a, b = getattr(mine, name)[PISTONS], getattr(theirs, name)[PISTONS]
                np.testing.assert_allclose(a, b, atol=1e-6, err_msg=name)
            for name in mine.metrics:
                np.testing.assert_allclose(mine.metrics[name], theirs.metrics[name], atol=1e-5)
            if mine.done[0]:
                break
        return steps + 1


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
@pytest.mark.parametrize("agents", [5, 20])
def test_equal_to_the_real_one_while_contacts_are_visited_in_its_order(agents, actions):
    """The theory: two worlds differ only where several contacts coincide and the engine's search
    tree visits them in another order than ours."""
    both, rng = Watched(num_agents=agents, actions=actions), np.random.default_rng(0)
    steps = 0
    for _ in range(20):
        both.start()
        steps += both.equal_steps(lambda group: group.random_actions(rng, 1, agents))
    assert agents * steps > 300
    assert both.contacts > 500
    assert both.most >= 2


def test_equal_to_the_real_one_for_an_episode_with_one_contact_at_a_time():
    """The ball stands on a piston that goes up and down at random, all others are low: 2500
    ticks."""
    heights = np.full(20, 491.0)
    heights[7] = 450.0
    both, rng = Watched(), np.random.default_rng(0)
    both.start((340.0, 390.0), heights)

    def choose(group):
        actions = np.full((1, 20, 1), -1.0, np.float32)
        actions[0, 7] = rng.uniform(-0.5, 1.0)
        return actions

    assert both.equal_steps(choose) == 125
    assert both.contacts > 1000
    assert both.most == 1


def test_neither_mass_nor_elasticity_matters_to_the_real_one():
    """Why our world does not have these settings."""
    from pettingzoo.butterfly.pistonball.pistonball import raw_env

    tracks = []
    for options in ({}, {"ball_mass": 3.0, "ball_elasticity": 0.2}):
        env, rng = raw_env(n_pistons=5, **options), np.random.default_rng(0)
        env.reset(seed=0)
        track = []
        for action in rng.uniform(-1, 1, 60):
            env.step([action])
            track.append([*env.ball.position, *env.ball.velocity, env.ball.angular_velocity])
        tracks.append(track)
    np.testing.assert_allclose(*tracks, atol=1e-6)


@pytest.mark.parametrize(("agents", "policy"), REAL)
def test_equal_to_the_real_one_in_the_mean(agents, policy):
    total = returns(Pistonball(**game(policy, agents)).make_world(5000 // agents, 1), policy)
    mean, error = REAL[agents, policy]
    apart = np.hypot(error, total.std(ddof=1) / len(total) ** 0.5)
    assert abs(total.mean() - mean) < JOINT * apart


@pytest.mark.learning
@pytest.mark.parametrize("policy", POLICIES)
def test_the_real_one_is_as_recorded(policy):
    total = returns(RealPistonball(**game(policy, 5)).make_world(200, 1), policy)
    mean, error = REAL[5, policy]
    assert abs(total.mean() - mean) < JOINT * np.hypot(error, total.std(ddof=1) / 200**0.5)
