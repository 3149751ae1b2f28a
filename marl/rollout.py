"""collect(): the loop, in one place."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from marl.agents.core.base import Policy
from marl.learning.replay import Transition
from marl.worlds.base import Arrays, Step, World


class Collected(NamedTuple):
    """One turn of the loop."""

    transition: Transition
    step: Step


def collect(
    world: World,
    policy: Policy,
    explore: bool = False,
    observation: Arrays | None = None,
    begun: np.ndarray | None = None,
) -> Iterator[Collected]:
    """Perceive, act, step, hand on the transition, reset the worlds that are done; forever.

    Starts with new episodes, or goes on from `observation` (a world that was restored), which the
    policy has perceived before but in the worlds of `begun` (bool[E]). The worlds are reset when
    the next turn is asked for: between turns they show how the step ended.
    """
    if observation is None:
        observation = world.reset()
        policy.reset()

    def perceive(observation: Arrays, mask: np.ndarray | None) -> Arrays:
        near = world.neighbours(*policy.knows) if any(policy.knows) else None
        told = world.privileged() if explore and policy.privileged else None
        return policy.perceive(observation, near, mask, told)

    perceived = perceive(observation, begun)
    while True:
        action = policy.act(perceived, explore)
        kept = policy.kept()
        step = world.step(action)
        then = perceive(step.observation, None)
        yield Collected(
            Transition(perceived, action, step.reward, then, step.terminated, kept, step.acted),
            step,
        )
        perceived = then
        if step.done.any():
            observation = world.reset(step.done)
            policy.reset(step.done)
            perceived = perceive(observation, step.done)
