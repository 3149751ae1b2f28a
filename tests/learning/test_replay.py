"""Replay: against a naive one that keeps whole transitions; real steps only, the oldest overwritten
first, stored states go on."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from marl.learning.record import Batch, Column, Transition, columns_of
from marl.learning.replay import Replay
from marl.worlds.spaces import Group

AGENTS = {"a": 2, "b": 5}


def groups(*names, dtype=np.float32):
    low, high = (0, 255) if dtype == np.uint8 else (-np.inf, np.inf)
    return {
        g: Group(
            tuple(f"{g}_{i}" for i in range(AGENTS[g])),
            Box(low, high, (3,), dtype),
            Box(-1.0, 1.0, (2,), np.float32),
        )
        for g in names or ("a",)
    }


def replay(capacity, *names, seed=0, columns=None):
    generator = torch.Generator().manual_seed(seed)
    return Replay(groups(*names), capacity, generator, columns)


class Worlds:
    """Steps of E worlds. Every number tells its step (the reward: worlds one after another, turn by
    turn), its agent and its group; `history` has them all, whole."""

    def __init__(self, worlds=3, names=("a",), over=0.3, seed=0):
        self.worlds, self.names, self.over = worlds, names, over
        self.random, self.count, self.history = np.random.default_rng(seed), 0, []
        self.seen = self.looks()

    def looks(self):
        return {g: self.random.random((self.worlds, AGENTS[g], 3), np.float32) for g in self.names}

    def step(self, **more):
        number = self.count + np.arange(self.worlds)
        done = self.random.random(self.worlds) < self.over
        after = self.looks()

        def column(*shape, scale=1.0):
            return {
                g: (scale * (100.0 * number[:, None] + np.arange(AGENTS[g]))).reshape(
                    self.worlds, AGENTS[g], *[1] * len(shape)
                )
                * np.ones(shape, np.float32)
                for g in self.names
            }

        odd = {g: x % 2 == 1 for g, x in column().items()}
        step = Transition(self.seen, column(2, scale=-1.0), column(), after, odd, done, **more)
        for e in range(self.worlds):
            self.history.append(
                {f: {g: x[e] for g, x in getattr(step, f).items()} for f in Transition._fields[:5]}
                | {"done": done[e]}
            )
        self.count += self.worlds
        fresh = self.looks()
        self.seen = {g: np.where(done[:, None, None], fresh[g], after[g]) for g in self.names}
        return step


def check(batch, worlds, g="a"):
    """Every row is one of the steps that were, whole; returns which they are."""
    reward = batch.reward.numpy()
    steps, agents = (reward // 100).astype(int), (reward % 100).astype(int)
    for name in ("observation", "action", "next_observation", "terminated"):
        were = np.stack([step[name][g] for step in worlds.history])
        found = getattr(batch, name).numpy()
        np.testing.assert_array_equal(found, were[steps, agents].astype(np.float32))
    return sorted(set(steps.flatten().tolist()))


@pytest.mark.parametrize("capacity", [3, 4, 5, 6, 7, 12, 100])
@pytest.mark.parametrize("over", [0.0, 0.3, 1.0])
def test_what_is_drawn_is_what_a_naive_replay_would_have(capacity, over):
    """Whatever comes around at the end of the table, and however short episodes are."""
    memory, worlds = replay(capacity, "a", "b"), Worlds(3, ("a", "b"), over)
    for turn in range(1, 9):
        memory.add(worlds.step())
        newest = list(range(max(0, 3 * turn - capacity), 3 * turn))
        assert memory.size == len(newest)
        for draw in ("agents", "steps"):
            batch = memory.sample(300, draw)
            for g in ("a", "b"):
                assert check(batch[g], worlds, g) == newest
            numbers = [batch[g].reward[:, 0] // 100 for g in ("a", "b")]
            assert torch.equal(*numbers)  # of the same steps
            shape = (300, AGENTS["b"] if draw == "steps" else 1, 3)
            assert batch["b"].observation.shape == shape


def test_other_worlds_may_fill_it_first():
    memory = replay(40)
    crowd = Worlds(10)
    for _ in range(3):
        memory.add(crowd.step())
    few = Worlds(2)
    few.history, few.count = crowd.history, crowd.count
    for _ in range(8):
        memory.add(few.step())
        check(memory.sample(400)["a"], few)


def test_rows_are_drawn_evenly():
    memory, worlds = replay(100), Worlds(5)
    memory.add(worlds.step())
    drawn = memory.sample(50_000)["a"].reward
    counts = drawn.unique(return_counts=True)[1]
    assert len(counts) == 5 * AGENTS["a"]
    assert (counts - 5000).abs().max() < 350  # five deviations


def test_which_agent_it_is_is_drawn_for_each_group():
    memory, worlds = replay(20, "a", "b"), Worlds(20, ("a", "b"))
    memory.add(worlds.step())
    batch = memory.sample(2000)
    pairs = torch.stack([batch[g].reward[:, 0] % 100 for g in ("a", "b")])
    found, counts = pairs.unique(dim=1, return_counts=True)
    assert found.shape == (2, 10)
    assert counts.min() > 120


def test_observations_are_stored_once():
    """Where episodes are long, next observations take no room of their own, ever."""
    memory, worlds = replay(3000), Worlds(3, over=0.0)
    alone = memory.nbytes
    for _ in range(1100):
        memory.add(worlds.step())
    stored = {k: v.numel() for k, v in memory.state_dict().items()}
    assert stored["a.observation"] == 3000 * 2 * 3
    assert stored["a.next_observation"] == 3 * 2 * 3  # of the newest steps
    assert memory.nbytes < 1.01 * alone
    check(memory.sample(2000)["a"], worlds)


def test_places_of_steps_that_are_gone_are_used_again():
    memory, worlds = replay(300), Worlds(3, over=0.2)
    for _ in range(200):
        memory.add(worlds.step())
    before = memory.nbytes
    for _ in range(1000):
        memory.add(worlds.step())
    assert memory.nbytes <= 1.5 * before
    check(memory.sample(2000)["a"], worlds)


def test_later_changes_to_arrays_do_not_reach_the_memory():
    memory, worlds = replay(4), Worlds(2)
    given = worlds.step()
    memory.add(given)
    expected = memory.sample(50, "steps")["a"]
    for name in ("observation", "next_observation", "reward"):
        getattr(given, name)["a"][:] = np.nan
    found = memory.sample(50, "steps")["a"]
    assert not found.observation.isnan().any()
    assert not found.next_observation.isnan().any()
    assert set(found.reward[:, 0].tolist()) == set(expected.reward[:, 0].tolist())


# ------------------------------------------------------------------------------------------ columns


def test_columns_keep_their_own_type():
    """Pictures stay bytes; what is true or false counts as 1.0 or 0.0 where it is drawn."""
    pictures = groups("a", dtype=np.uint8)
    memory = Replay(pictures, 8, torch.Generator().manual_seed(0))
    pixels = {"a": np.full((2, 2, 3), 200, np.uint8)}
    numbers = {"a": np.zeros((2, 2), np.float32)}
    over = {"a": np.ones((2, 2), bool)}
    action = {"a": np.zeros((2, 2, 2), np.float32)}
    memory.add(Transition(pixels, action, numbers, pixels, over, np.ones(2, bool)))
    assert memory.state_dict()["a.observation"].dtype == torch.uint8
    assert memory.state_dict()["a.terminated"].dtype == torch.bool
    batch = memory.sample(5)["a"]
    assert batch.observation.dtype == batch.next_observation.dtype == torch.uint8
    assert (batch.next_observation == 200).all()
    assert batch.terminated.dtype == torch.float32
    assert (batch.terminated == 1.0).all()


@pytest.mark.parametrize("draw", ["agents", "steps"])
def test_columns_that_an_agent_adds_are_drawn_with_their_steps(draw):
    """And change nothing else."""
    both = groups("a", "b")
    added = columns_of(both, talk=Column((4,), "int32"), mood=Column(next=True))
    plain, adding, other = (
        Replay(both, 9, torch.Generator().manual_seed(0), columns)
        for columns in (None, added, added)
    )
    one, two = Worlds(3, ("a", "b")), Worlds(3, ("a", "b"))
    for _ in range(6):
        plain.add(one.step())
        step = two.step()
        talk = {g: np.repeat(x[..., None], 4, 2).astype("i8") for g, x in step.reward.items()}
        mood, later = step.reward, {g: -x for g, x in step.reward.items()}
        adding.add(step._replace(added={"talk": talk, "mood": mood, "next_mood": later}))
    other.load_state_dict(adding.state_dict())
    batches = [memory.sample(200, draw) for memory in (plain, adding, other)]
    for g in both:
        without, batch, again = (drawn[g] for drawn in batches)
        assert not without.added
        assert torch.equal(batch.reward, without.reward)
        assert torch.equal(batch.next_observation, without.next_observation)
        assert batch.added["talk"].dtype == torch.int32
        assert torch.equal(batch.added["talk"][..., 3], batch.reward.int())
        assert torch.equal(batch.added["mood"], batch.reward)
        newest = batch.reward[:, 0] >= 1500  # their next mood has not arrived in a step yet
        assert torch.equal(batch.added["next_mood"][newest], -batch.reward[newest])
        for name, x in batch.added.items():
            assert torch.equal(x, again.added[name])


def test_who_had_left_is_remembered():
    """From the first step on that says so; around the end of the table; across a stored state."""
    memory, worlds = replay(8, "a", "b"), Worlds(3, ("a", "b"))
    memory.add(worlds.step())
    assert memory.sample(4)["a"].present is None
    for _ in range(4):
        step = worlds.step()
        memory.add(step._replace(present={"a": step.reward["a"] // 100 % 2 == 1}))
    other = replay(8, "a", "b", seed=3)
    other.load_state_dict(memory.state_dict())
    for which in (memory, other):
        for draw in ("agents", "steps"):
            batch = which.sample(200, draw)
            assert batch["b"].present is None
            torch.testing.assert_close(batch["a"].present, batch["a"].reward // 100 % 2)
            assert 0 < batch["a"].present.mean() < 1
    memory.add(worlds.step())  # everybody is there
    batch = memory.sample(200)["a"]
    assert (batch.present[batch.reward >= 1500] == 1.0).all()


# ------------------------------------------------------------------------------------------ windows


@pytest.mark.parametrize("capacity", [7, 12, 100])
def test_windows_are_steps_in_a_row(capacity):
    memory, worlds = replay(capacity, "a", "b"), Worlds(3, ("a", "b"))
    for _ in range(11):
        memory.add(worlds.step())
    batch = memory.sample(300, "windows", 4)
    lengths = set()
    for g in ("a", "b"):
        own = batch[g]
        assert own.observation.shape == (300, 4, AGENTS[g], 3)
        assert own.inside.shape == (300, 4)
        check(own, worlds, g)
        number = (own.reward[..., 0] // 100).int()
        for row, inside in zip(number, own.inside, strict=True):
            length = int(inside.sum())
            lengths.add(length)
            assert inside.tolist() == [1.0] * length + [0.0] * (4 - length)
            steps = row[:length].tolist()
            assert steps == list(range(steps[0], steps[0] + 3 * length, 3))  # of the same world
            ends = [worlds.history[step]["done"] for step in steps]
            assert not any(ends[:-1])
            if length < 4:  # it ends with its episode, or with what is stored
                assert ends[-1] or steps[-1] >= 30
            assert (row[length:] == steps[-1]).all()
    assert lengths >= {1, 2}
    assert capacity < 12 or lengths == {1, 2, 3, 4}


def test_windows_of_one_step_are_steps():
    memory, other = replay(9), replay(9)
    for which in (memory, other):
        worlds = Worlds(3)
        for _ in range(5):
            which.add(worlds.step())
    steps, windows = memory.sample(50, "steps")["a"], other.sample(50, "windows", 1)["a"]
    assert torch.equal(windows.next_observation[:, 0], steps.next_observation)
    assert (windows.inside == 1.0).all()


# ----------------------------------------------------------------------------------- stored states


def test_seeds():
    samples = []
    for seed in (1, 1, 2):
        memory = replay(8, seed=seed)
        memory.add(Worlds(8).step())
        samples.append(memory.sample(64)["a"].reward)
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])


@pytest.mark.parametrize("filled", [0, 1, 2, 5])
def test_a_stored_state_goes_on_bit_for_bit(filled):
    """Empty, half full and wrapped around."""
    memory, other, worlds = replay(8), replay(8, seed=9), Worlds(3)
    for _ in range(filled):
        memory.add(worlds.step())
    other.load_state_dict(memory.state_dict())
    for _ in range(9):
        step = worlds.step()
        memory.add(step)
        other.add(step)
        one, two = memory.sample(16)["a"], other.sample(16)["a"]
        for field in fields(Batch)[:5]:
            assert torch.equal(getattr(one, field.name), getattr(two, field.name))
        check(two, worlds)
    assert memory.size == other.size == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("next", torch.tensor(8)),
        ("next", torch.tensor(-1)),
        ("after", torch.tensor([3, 4, 99, -1, -1, -1])),
        ("after", torch.tensor([3, 4, 6, -1, -1, -1])),  # nothing is stored there yet
        ("newest", torch.tensor([3, 4, 50])),
        ("a.next_observation", torch.zeros(2, 2, 3)),
        ("a.reward", torch.zeros(6, 4)),
    ],
)
def test_a_state_that_does_not_fit_is_refused(name, value):
    memory, worlds = replay(8), Worlds(3, over=0.0)
    for _ in range(2):
        memory.add(worlds.step())
    state = memory.state_dict()
    assert state[name].shape[1:] == value.shape[1:] or name == "a.reward"
    with pytest.raises((ValueError, RuntimeError)):
        replay(8).load_state_dict(state | {name: value})
