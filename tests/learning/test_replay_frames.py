"""Replay of pictures: each frame is stored once, and stacks are made when they are drawn."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from marl.learning.record import Column, Transition, columns_of
from marl.learning.replay import Replay, needed_bytes
from marl.worlds.spaces import Group, Part

FRAMES = 3


def movie_groups(agents=2):
    part = Part("frames", count=FRAMES, scalars=4, picture=(1, 2, 2))
    space = Box(0, 255, (FRAMES, 2, 2), np.uint8)
    actions = Box(-1.0, 1.0, (1,), np.float32)
    return {"a": Group(tuple(map(str, range(agents))), space, actions, (part,))}


class Movies:
    """E worlds whose agents see the last frames, zeros before an episode's first one. `history` has
    all steps; the action tells which it is."""

    def __init__(self, worlds, over, agents=2, seed=0):
        self.shape, self.over, self.random = (worlds, agents), over, np.random.default_rng(seed)
        self.history, self.seen = [], self.after(np.zeros((*self.shape, FRAMES, 2, 2), np.uint8))

    def after(self, seen):
        new = self.random.integers(256, size=(*self.shape, 1, 2, 2), dtype=np.uint8)
        return np.concatenate([seen[:, :, 1:], new], 2)

    def step(self):
        worlds, agents = self.shape
        number = len(self.history) + np.arange(worlds)
        action = np.repeat(number[:, None, None], agents, 1).astype(np.float32)
        following, done = self.after(self.seen), self.random.random(worlds) < self.over
        nothing = np.zeros(self.shape, np.float32)
        over = {"a": np.repeat(done[:, None], agents, 1)}
        self.history += zip(self.seen, following, strict=True)
        step = Transition(
            {"a": self.seen}, {"a": action}, {"a": nothing}, {"a": following}, over, done
        )
        fresh = self.after(np.zeros_like(self.seen))
        self.seen = np.where(done[:, None, None, None, None], fresh, following)
        return step


def check_movies(batch, movies):
    """Every row has the frames that were seen; returns the steps that were drawn."""
    steps = batch.action[..., 0].long()
    agents = torch.arange(steps.shape[-1]).expand_as(steps)
    for found, which in ((batch.observation, 0), (batch.next_observation, 1)):
        were = torch.from_numpy(np.stack([step[which] for step in movies.history]))
        assert found.dtype == torch.uint8
        assert torch.equal(found, were[steps, agents].flatten(-3))
    return set(steps.flatten().tolist())


@pytest.mark.parametrize("capacity", [9, 10, 12, 100])
@pytest.mark.parametrize("over", [0.0, 0.3, 1.0])
def test_frames_are_stored_once(capacity, over):
    """What is drawn is what a replay of whole observations would have, except steps whose frames
    have been overwritten."""
    groups, movies = movie_groups(), Movies(3, over)
    memory = Replay(groups, capacity, torch.Generator().manual_seed(0))
    for turn in range(1, 12):
        memory.add(movies.step())
        lost = 3 * (FRAMES - 1) if 3 * turn >= capacity else 0
        least = max(0, 3 * turn - capacity + lost)
        assert check_movies(memory.sample(300, "steps")["a"], movies) == {*range(least, 3 * turn)}
        windows = memory.sample(100, "windows", 4)["a"]
        assert windows.observation.shape == (100, 4, 2, FRAMES * 4)
        check_movies(windows, movies)
        assert memory.sample(5)["a"].observation.shape == (5, 1, FRAMES * 4)


def test_a_stored_replay_of_frames_goes_on():
    groups, movies = movie_groups(), Movies(3, 0.2)
    memory, other = (Replay(groups, 20, torch.Generator().manual_seed(s)) for s in (0, 1))
    for _ in range(9):
        memory.add(movies.step())
    other.load_state_dict(memory.state_dict())
    for _ in range(9):
        step = movies.step()
        for replay in (memory, other):
            replay.add(step)
        one, two = (x.sample(50, "steps")["a"] for x in (memory, other))
        check_movies(one, movies)
        assert torch.equal(one.observation, two.observation)
        assert torch.equal(one.action, two.action)


def test_frames_need_the_room_of_one():
    groups = movie_groups()
    columns = columns_of(groups)
    whole = {g: {**own, "observation": Column((12,), "uint8", True)} for g, own in columns.items()}
    generator = torch.Generator()
    once, thrice = (Replay(groups, 1000, generator, x).nbytes for x in (columns, whole))
    assert thrice - once == 1000 * 2 * (12 - 4)
    assert needed_bytes(groups, 1000, columns) == once
