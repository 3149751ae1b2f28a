"""collect(): the loop, in one place."""

from collections.abc import Iterator
from typing import NamedTuple

from marl.agents.base import Policy
from marl.replay import Transition
from marl.worlds.base import Arrays, Step, World


class Collected(NamedTuple):
    """One turn of the loop."""

    transition: Transition
    step: Step


def collect(
    world: World, policy: Policy, explore: bool = False, observation: Arrays | None = None
) -> Iterator[Collected]:
    """Act, step, hand on the transition, reset the worlds that are done; forever.

    Starts with new episodes, or goes on from `observation` (a world that was restored). The worlds
    are reset when the next turn is asked for: between turns they show how the step ended.
    """
    if observation is None:
        observation = world.reset()
        policy.reset()
    while True:
        more = [world.neighbours(policy.perceives)] if policy.perceives else []
        action = policy.act(observation, explore, *more)
        kept = policy.kept()
        step = world.step(action)
        yield Collected(
            Transition(observation, action, step.reward, step.observation, step.terminated, kept),
            step,
        )
        observation = step.observation
        if step.done.any():
            observation = world.reset(step.done)
            policy.reset(step.done)
