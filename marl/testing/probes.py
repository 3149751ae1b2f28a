"""Worlds of one or two steps with known answers, to be learnt before any hard world.

>>> from marl.testing.probes import action_follows_observation
>>> world = action_follows_observation()      # train an agent in it, then
>>> agent.act({"agents": ...})                # does what it sees

Each function makes a `Probe` and says what agents see, what they do, and which values (Q: of an
observation and an action, discounted) and greedy actions are right. E = 16 worlds stand side by
side. A learner that fails one of them has a mistake that a hard world would hide.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from gymnasium.spaces import Box

from marl.worlds.base import Arrays, Step, World
from marl.worlds.spaces import Group, Part

WORLDS = 16

Rewards = Callable[[np.ndarray, Arrays, Arrays], dict[str, Any]]
Observations = Callable[[np.random.Generator, np.ndarray], dict[str, np.ndarray]]


def group_of(
    agents: int,
    sees: int,
    does: int,
    parts: tuple[Part, ...] = (),
    action_parts: tuple[Part, ...] = (),
) -> Group:
    """So many agents, each seeing so many numbers and doing so many within [-1, 1]."""
    return Group(
        tuple(map(str, range(agents))),
        Box(-np.inf, np.inf, (sees,), np.float32),
        Box(-1.0, 1.0, (does,), np.float32),
        parts,
        action_parts,
    )


class Probe(World):
    """E = 16 worlds whose observations and rewards are two functions.

    Args:
        shapes: {g: (N, O, A)}, the number of agents, of numbers that each sees, and that each does.
        reward: reward(t, observation, action) judges what was done: {g: [E, N_g]}, or what can be
            broadcast to that; t i64[E], observation {g: [E, N_g, O_g]}, action {g: [E, N_g, A_g]}.
        observe: observe(rng, t) draws the observations {g: [E, N_g, O_g]} of time t; None: zeros.
        length: after so many steps all worlds are terminated,
        truncates: or, so, their time runs out.
    """

    def __init__(
        self,
        shapes: dict[str, tuple[int, int, int]],
        reward: Rewards,
        observe: Observations | None = None,
        length: int = 1,
        truncates: bool = False,
    ) -> None:
        self.num_worlds = WORLDS
        self.groups = {g: group_of(*shape) for g, shape in shapes.items()}
        self.reward, self.length, self.truncates = reward, length, truncates
        self.seen = {g: np.zeros((WORLDS, n, sees)) for g, (n, sees, _) in shapes.items()}
        nothing = self.seen
        self.observe = observe or (lambda rng, t: nothing)
        self.rng, self.time = np.random.default_rng(0), np.zeros(WORLDS, int)

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        mask = np.ones(WORLDS, bool) if mask is None else mask
        self.time[mask] = 0
        new, begun = self.observe(self.rng, self.time), mask[:, None, None]
        self.seen = {g: np.where(begun, new[g], seen) for g, seen in self.seen.items()}
        return self.looks()

    def looks(self) -> Arrays:
        """What everybody sees now."""
        return {g: seen.astype(np.float32) for g, seen in self.seen.items()}

    def step(self, actions: Arrays) -> Step:
        rewards = self.reward(self.time, self.seen, actions)
        self.time = self.time + 1
        self.seen = self.observe(self.rng, self.time)
        over = self.time >= self.length
        ended = over & (not self.truncates)
        shapes = {g: (WORLDS, len(group)) for g, group in self.groups.items()}
        terminated = {g: np.broadcast_to(ended[:, None], shape) for g, shape in shapes.items()}
        return Step(
            self.looks(),
            {g: np.broadcast_to(rewards[g], shape).astype("f4") for g, shape in shapes.items()},
            terminated,
            over & self.truncates,
            {g: ~ended for g, ended in terminated.items()},
            over,
            {},
        )

    def state(self) -> NoReturn:
        raise NotImplementedError

    def scene(self, world: int = 0) -> NoReturn:
        raise NotImplementedError

    def state_dict(self) -> NoReturn:
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> NoReturn:
        raise NotImplementedError


# -------------------------------------------------------------------------------------- one agent


ONE = {"agents": (1, 1, 1)}


def constant_reward(truncates: bool = False) -> Probe:
    """One agent sees 0, [E, 1, 1], and does one number; a single step, whose reward is 1.

    Q = 1 for every action. If time only ran out (`truncates`), it would have gone on: then
    Q = 1 / (1 - gamma). A learner that tells these apart wrongly bootstraps where it should not, or
    does not where it should.
    """
    return Probe(ONE, lambda t, o, a: {"agents": 1.0}, truncates=truncates)


def reward_in_observation() -> Probe:
    """One agent sees -1 or 1, [E, 1, 1], and does one number; a single step.

    The reward is what it sees: Q(o, a) = o.
    """
    return Probe(
        ONE,
        lambda t, o, a: {"agents": o["agents"][..., 0]},
        lambda rng, t: {"agents": rng.choice([-1.0, 1.0], (WORLDS, 1, 1))},
    )


def reward_a_step_later() -> Probe:
    """One agent sees 0, then 1, [E, 1, 1], and does one number; two steps.

    Only the second is rewarded, by 1: Q(1, a) = 1 and Q(0, a) = gamma.
    """
    return Probe(
        ONE,
        lambda t, o, a: {"agents": (t == 1).astype(float)[:, None]},
        lambda rng, t: {"agents": (t == 1).astype(float)[:, None, None]},
        length=2,
    )


def action_matters() -> Probe:
    """One agent sees 0, [E, 1, 1], and does one number a; a single step.

    The reward is -(a - 0.5)²: the greedy action is 0.5, and Q(0, a) is the reward.
    """
    return Probe(ONE, lambda t, o, a: {"agents": -np.square(a["agents"][..., 0] - 0.5)})


def action_follows_observation() -> Probe:
    """One agent sees o in [-0.8, 0.8], [E, 1, 1], and does one number a; a single step.

    The reward is -(a - o)²: the greedy action is o.
    """
    return Probe(
        ONE,
        lambda t, o, a: {"agents": -np.square(a["agents"] - o["agents"])[..., 0]},
        lambda rng, t: {"agents": rng.uniform(-0.8, 0.8, (WORLDS, 1, 1))},
    )


# ---------------------------------------------------------------------------------- several agents


def another_agents_action() -> Probe:
    """Two agents see who they are, one-hot [E, 2, 2], and do one number each; a single step.

    The first gets twice the second's action, the second nothing. A critic that sees all actions
    predicts that, with no error; to one that sees an agent's own it is noise, and its error is the
    variance of the reward.
    """
    who = np.broadcast_to(np.eye(2), (WORLDS, 2, 2))
    return Probe(
        {"agents": (2, 2, 1)},
        lambda t, o, a: {"agents": a["agents"][:, [1, 1], 0] * [2.0, 0.0]},
        lambda rng, t: {"agents": who},
    )


ANSWERS = (-0.6, 0.0, 0.6)


def answers_of_their_own() -> Probe:
    """Three agents see 0, [E, 3, 1], and do one number each; a single step.

    The reward of each is minus the squared distance from its own of ANSWERS, which only networks of
    their own can tell apart; a shared one does the mean, 0.
    """
    return Probe(
        {"agents": (3, 1, 1)},
        lambda t, o, a: {"agents": -np.square(a["agents"][..., 0] - ANSWERS)},
    )


def two_unlike_groups() -> Probe:
    """Group one: two agents see two numbers in [-0.7, 0.7], [E, 2, 2], and do one, which is to be
    the first of them. Group two: one agent sees one, [E, 1, 1], and does two, which are to be that
    and its opposite. A single step; rewards are minus squared distances.
    """

    def reward(t: np.ndarray, o: Arrays, a: Arrays) -> Arrays:
        right = {"one": o["one"][..., :1], "two": o["two"] * [1.0, -1.0]}
        return {g: -np.square(a[g] - x).sum(-1) for g, x in right.items()}

    return Probe(
        {"one": (2, 2, 1), "two": (1, 1, 2)},
        reward,
        lambda rng, t: {
            "one": rng.uniform(-0.7, 0.7, (WORLDS, 2, 2)),
            "two": rng.uniform(-0.7, 0.7, (WORLDS, 1, 1)),
        },
    )


def what_another_sees() -> Probe:
    """Two agents see a number in [-0.7, 0.7] each, [E, 2, 1], and do one; a single step.

    The first is to do what the second sees, the second nothing; rewards are minus twice the squared
    distances. Only one policy for all, or agents that talk, can know.
    """

    def reward(t: np.ndarray, o: Arrays, a: Arrays) -> Arrays:
        right = o["agents"][:, [1, 1], 0] * [1.0, 0.0]
        return {"agents": -2.0 * np.square(a["agents"][..., 0] - right)}

    return Probe(
        {"agents": (2, 1, 1)},
        reward,
        lambda rng, t: {"agents": rng.uniform(-0.7, 0.7, (WORLDS, 2, 1))},
    )
