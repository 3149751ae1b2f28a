"""Speaker and listener: the speaker knows to which landmark the listener shall go and cannot move;
the listener can move and does not know."""

from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field

from marl.worlds.particles import (
    Body,
    Group,
    Part,
    Scenario,
    anywhere_in_square,
    choice,
    distance_to,
    load,
    put_message,
    put_one_of,
    put_places,
    put_vector,
    steps,
    store,
    where,
)

LANDMARKS = 3
REACHED = 0.1  # as near as that, a listener has arrived
HUES = ((166, 38, 38), (38, 166, 38), (38, 38, 166))


class SpeakerListener(Scenario):
    """MPE2's simple_speaker_listener, with any number of pairs, each by itself. The reward of
    speaker and listener is minus the squared distance of the listener from its landmark."""

    metrics: ClassVar[tuple[str, ...]] = ("reached", "distance")

    episode_length: int = steps(25)
    num_pairs: int = Field(1, ge=1, le=1000, description="pairs of speaker and listener")

    @cached_property
    def groups(self) -> dict[str, Group]:
        heard = (
            Part("self", vectors=1),
            Part("landmarks", LANDMARKS, vectors=1),
            Part("heard", scalars=self.message_size),
        )
        speakers, listeners = (
            [f"{kind}_{i}" for i in range(self.num_pairs)] for kind in ("speaker", "listener")
        )
        goal = (Part("goal", scalars=LANDMARKS),)
        return {
            "speakers": self.group(speakers, goal, moves=False, speaks=True, team="all"),
            "listeners": self.group(listeners, heard, team="all"),
        }

    @property
    def agents(self) -> list[Body]:
        listener = Body(radius=0.075, collides=False, colour=(64, 64, 64, 200))
        speaker = listener.model_copy(update={"movable": False})
        return [speaker] * self.num_pairs + [listener] * self.num_pairs

    @property
    def landmarks(self) -> list[Body]:
        return [Body(radius=0.04, collides=False, colour=(*hue, 255)) for hue in HUES]

    @property
    def message_size(self) -> int:
        return 3

    @property
    def num_goals(self) -> int:
        return self.num_pairs

    def reset(self, world, random):
        """Everything anywhere in the square; a landmark for each listener."""
        anywhere_in_square(world.agents, random, 1.0)
        anywhere_in_square(world.landmarks, random, 1.0)
        for i in range(self.num_pairs):
            store(world.goals, (i, 0), choice(random, LANDMARKS))

    def observe(self, world, i, out):
        """Speakers: the colour of the landmark. Listeners: own velocity, the landmarks, and what
        their speaker says."""
        agents, speaker = world.agents, i - self.num_pairs
        if i < self.num_pairs:
            put_one_of(out, 0, load(world.goals, (i, 0)), LANDMARKS, 0.15, 0.65)
        else:
            x, y = load(agents.position, (i, 0)), load(agents.position, (i, 1))
            at = put_vector(out, 0, agents.velocity, i)
            at = put_places(out, at, world.landmarks, 0, LANDMARKS, -1, x, y)
            put_message(out, at, world.messages, speaker)

    def score(self, world, reward, metrics):
        """The reward above; how many have arrived, and the mean distance."""
        pairs = self.num_pairs
        total, reached = 0.0, 0.0
        for i in range(pairs):
            d = distance_to(world.agents, pairs + i, world.landmarks, load(world.goals, (i, 0)))
            store(reward, i, -d * d)
            store(reward, pairs + i, -d * d)
            total = total + d
            reached = reached + where(d < REACHED, 1.0, 0.0)
        store(metrics, 0, reached / pairs)
        store(metrics, 1, total / pairs)

    def colours(
        self, agents: np.ndarray, landmarks: np.ndarray, goals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Listeners have the colour of their landmark."""
        agent_colours, landmark_colours = super().colours(agents, landmarks, goals)
        agent_colours[self.num_pairs :, :3] = np.array(HUES)[goals.astype(int)]
        return agent_colours, landmark_colours
