"""collect(): the loop, in one place."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from marl.agents.core.base import Policy, View
from marl.errors import UserError
from marl.learning.record import Transition
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
    new_episode: np.ndarray | None = None,
) -> Iterator[Collected]:
    """Perceive, act, step, yield the transition, reset the worlds that are done; forever.

    The loop starts with new episodes, or continues a restored world from `observation`. Then the
    policy has perceived this step before, except in the worlds of `new_episode` (bool[E]). Worlds
    are reset at the start of the next turn, so between turns they show the end of the step.
    """
    if observation is None:
        observation = world.reset()
        policy.reset()

    def perceive(observation: Arrays, new_episode: np.ndarray | None) -> Arrays:
        return policy.perceive(look(world, policy, observation, new_episode, explore))

    perceived = perceive(observation, new_episode)
    while True:
        action = policy.act(perceived, explore)
        recorded = policy.recorded()
        step = world.step(action)
        following = perceive(step.observation, None)
        transition = Transition(
            perceived,
            action,
            step.reward,
            following,
            step.terminated,
            step.done,
            step.present,
            recorded,
        )
        yield Collected(transition, step)
        perceived = following
        if step.done.any():
            observation = world.reset(step.done)
            policy.reset(step.done)
            perceived = perceive(observation, step.done)


def look(
    world: World,
    policy: Policy,
    observation: Arrays,
    new_episode: np.ndarray | None = None,
    explore: bool = False,
) -> View:
    """The policy's inputs for the current step, with `observation`; privileged ones only if it
    explores. Raises UserError if the world does not know them."""
    needs = policy.needs
    try:
        return View(
            observation,
            new_episode,
            world.neighbours(*needs.neighbours) if any(needs.neighbours) else None,
            world.privileged() if explore and needs.privileged else None,
        )
    except NotImplementedError as error:
        raise UserError(f"this policy cannot play here: {error}") from error
