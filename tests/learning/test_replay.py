"""Replay: real rows only, oldest overwritten first, stored states go on."""

import numpy as np
import torch
from gymnasium.spaces import Box

from marl.learning.replay import Replay, Transition
from marl.worlds.spaces import Group

AGENTS = 2


def groups(*names, agents=AGENTS):
    return {
        name: Group(
            tuple(f"{name}_{i}" for i in range(agents)),
            Box(-np.inf, np.inf, (3,), np.float32),
            Box(-1.0, 1.0, (2,), np.float32),
        )
        for name in names
    }


def replay(capacity, *names, seed=0):
    return Replay(groups(*(names or ("g",))), capacity, torch.Generator().manual_seed(seed))


def transition(first, worlds, *names):
    """Steps number `first`, `first + 1`...: every entry tells its step, agent and group."""

    def rows(shape, column, group):
        number = (first + np.arange(worlds))[:, None] * 10.0 + np.arange(AGENTS)
        tag = 0.25 * column + 1000.0 * group
        return np.broadcast_to(
            (number + tag).reshape(worlds, AGENTS, *[1] * len(shape)), (worlds, AGENTS, *shape)
        ).astype(np.float32)

    columns = []
    for column, shape in enumerate([(3,), (2,), (), (3,)]):
        columns.append({g: rows(shape, column, k) for k, g in enumerate(names or ("g",))})
    odd = {g: rows((), 0, 0) // 10 % 2 == 1 for g in names or ("g",)}
    return Transition(*columns, odd)


def steps_in(replay, count=2000, group="g"):
    """The numbers of the steps that samples come from; checks that every row is a real one."""
    batch = replay.sample(count)[group]
    number = batch.reward - 0.5
    assert number.shape == (count, 1)
    torch.testing.assert_close(batch.observation, number[..., None].expand(-1, -1, 3))
    torch.testing.assert_close(batch.action, number[..., None].expand(-1, -1, 2) + 0.25)
    torch.testing.assert_close(batch.next_observation, number[..., None].expand(-1, -1, 3) + 0.75)
    step = number % 1000 // 10
    torch.testing.assert_close(batch.terminated, step % 2)
    assert set((number % 10).flatten().tolist()) == set(range(AGENTS))
    return sorted(set(step.flatten().tolist()))


def test_samples_are_real_rows_drawn_evenly():
    memory = replay(100)
    memory.add(transition(0, 5))
    assert memory.size == 5
    assert steps_in(memory) == list(range(5))
    numbers = memory.sample(50_000)["g"].reward.unique(return_counts=True)[1]
    assert len(numbers) == 5 * AGENTS
    assert (numbers - 5000).abs().max() < 350  # five deviations
    assert all(column.dtype == torch.float32 for column in memory.sample(4)["g"])


def test_the_oldest_steps_are_overwritten_first():
    memory = replay(8)
    for first in (0, 3, 6):
        memory.add(transition(first, 3))
    assert memory.size == 8
    assert steps_in(memory) == list(range(1, 9))
    memory.add(transition(9, 8))
    assert steps_in(memory) == list(range(9, 17))


def test_later_changes_to_arrays_do_not_reach_the_memory():
    memory, given = replay(4), transition(0, 2)
    memory.add(given)
    given.observation["g"][:] = np.nan
    assert steps_in(memory) == [0, 1]


def test_who_had_left_is_remembered():
    """From the first step on that says so; around the end of the table; across a stored state."""
    memory = replay(8, "a", "b")
    memory.add(transition(0, 2, "a", "b"))
    assert memory.sample(4)["a"].acted is None
    for first in (2, 7):
        given = transition(first, 5, "a", "b")
        odd = (first + np.arange(5)[:, None] + np.arange(AGENTS)) % 2 == 1
        memory.add(given._replace(acted={"a": odd}))
    other = replay(8, "a", "b", seed=3)
    other.load_state_dict(memory.state_dict())
    for which in (memory, other):
        for whole_steps in (True, False):
            batch = which.sample(200, whole_steps)
            assert batch["b"].acted is None
            number = batch["a"].reward - 0.5
            odd = (number // 10 + number % 10) % 2
            torch.testing.assert_close(batch["a"].acted, odd)
            assert 0 < odd.mean() < 1


def test_every_group_has_a_table():
    memory = replay(8, "a", "b")
    memory.add(transition(0, 4, "a", "b"))
    batch = memory.sample(100)
    assert (batch["a"].reward < 1000).all()
    assert (batch["b"].reward >= 1000).all()
    assert steps_in(memory, group="b") == list(range(4))


def test_whole_steps_hold_all_agents_of_the_same_step_in_all_groups():
    memory = replay(8, "a", "b")
    for first in (0, 5):  # wraps around
        memory.add(transition(first, 5, "a", "b"))
    batch = memory.sample(500, whole_steps=True)
    numbers = []
    for k, group in enumerate(("a", "b")):
        rows = batch[group]
        number = rows.reward - 0.5 - 1000.0 * k
        assert number.shape == (500, AGENTS)
        torch.testing.assert_close(number % 10, torch.arange(2.0).expand(500, 2))
        number = number // 10
        for column, tag in [
            (rows.observation, 0.0),
            (rows.action, 0.25),
            (rows.next_observation, 0.75),
        ]:
            expected = 10 * number + torch.arange(2) + tag + 1000.0 * k
            torch.testing.assert_close(column, expected[..., None].expand_as(column))
        torch.testing.assert_close(rows.terminated, number % 2)
        assert torch.equal(number[:, 0], number[:, 1])
        numbers.append(number[:, 0])
    assert torch.equal(*numbers)
    assert set(numbers[0].tolist()) == set(range(2, 10))


def test_single_agents_of_all_groups_come_from_the_same_steps():
    """Which agent it is, is drawn for each group by itself."""
    memory = replay(20, "a", "b")
    memory.add(transition(0, 20, "a", "b"))
    batch = memory.sample(500)
    numbers = torch.stack([(batch[g].reward[:, 0] - 0.5) % 1000 for g in ("a", "b")])
    assert torch.equal(*numbers // 10)
    pairs, counts = (numbers % 10).unique(dim=1, return_counts=True)
    assert pairs.shape == (2, AGENTS**2)
    assert counts.min() > 80


def test_groups_of_unlike_size_are_sampled_alike():
    memory = Replay(groups("a") | groups("b", agents=5), 4, torch.Generator().manual_seed(0))

    def column(*shape):
        step = np.arange(4.0, dtype=np.float32).reshape(4, 1, *[1] * len(shape))
        return {g: np.tile(step, (1, n, *shape)) for g, n in [("a", 2), ("b", 5)]}

    memory.add(Transition(column(3), column(2), column(), column(3), column()))
    for whole_steps, agents in [(True, 5), (False, 1)]:
        batch = memory.sample(100, whole_steps)
        assert batch["b"].observation.shape == (100, agents, 3)
        assert torch.equal(batch["a"].reward[:, :1].expand(-1, agents), batch["b"].reward)


def test_seeds():
    samples = []
    for seed in (1, 1, 2):
        memory = replay(8, seed=seed)
        memory.add(transition(0, 8))
        samples.append(memory.sample(64)["g"].reward)
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])


def test_a_stored_state_goes_on_bit_for_bit():
    """Half full and wrapped around."""
    for filled in (4, 11):
        memory, other = replay(8), replay(8, seed=9)
        for first in range(filled):
            memory.add(transition(first, 1))
        state = memory.state_dict()
        expected = []
        for which in (memory, other):
            if which is other:
                other.load_state_dict(state)
            seen = [which.sample(16)["g"]]
            which.add(transition(20, 3))
            seen.append(which.sample(16)["g"])
            expected.append(torch.cat([torch.cat([c.flatten() for c in b]) for b in seen]))
        assert torch.equal(*expected)
        assert other.size == min(filled + 3, 8)
        assert steps_in(memory) == steps_in(other)
