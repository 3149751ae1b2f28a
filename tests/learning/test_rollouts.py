"""Rollouts: all steps in order, once, with the ends of episodes; a memory of several kinds."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from marl.learning.memory import Memory
from marl.learning.record import Column, Sampling, Transition, columns_of
from marl.learning.replay import Replay
from marl.learning.rollouts import Rollout
from marl.testing.probes import group_of

GROUPS = {"one": group_of(2, 1, 1), "two": group_of(1, 1, 1)}
WORLDS, STEPS = 3, 4


def transitions(start=0):
    """Observations count up by 1 in each step; episodes of world e end every e + 2 steps."""
    for t in itertools.count(start):
        now = {g: np.full((WORLDS, len(x), 1), t, "f4") for g, x in GROUPS.items()}
        done = np.array([(t + 1) % (e + 2) == 0 for e in range(WORLDS)])
        following = {g: np.where(done[:, None, None], 100 + x, x + 1) for g, x in now.items()}
        flat = {g: x[..., 0] for g, x in now.items()}
        terminated = {g: np.broadcast_to(done[:, None], x.shape) for g, x in flat.items()}
        yield Transition(now, now, flat, following, terminated, done)


def rollout():
    return Rollout(GROUPS, WORLDS * STEPS, torch.Generator(), columns_of(GROUPS))


def filled(memory, steps, start=0):
    for transition in itertools.islice(transitions(start), steps):
        memory.add(transition)


def test_all_steps_in_order_once():
    memory = rollout()
    for start in (0, STEPS, 2 * STEPS):
        assert memory.take() == {}
        filled(memory, STEPS - 1, start)
        assert memory.take() == {}
        filled(memory, 1, start + STEPS - 1)
        batch = memory.take()
        times = torch.arange(start, start + STEPS).float()
        done = torch.stack([(times + 1) % (e + 2) == 0 for e in range(WORLDS)], 1)
        for g, own in batch.items():
            n = len(GROUPS[g])
            assert own.observation.shape == (STEPS, WORLDS, n, 1)
            assert torch.equal(own.reward, times[:, None, None].expand(-1, WORLDS, n))
            expected = torch.where(done, 100 + times[:, None], times[:, None] + 1)
            assert torch.equal(own.next_observation[..., 0], expected[..., None].expand(-1, -1, n))
            assert torch.equal(own.terminated[..., 0], done.float())
            continues = ~done
            continues[-1] = False
            assert torch.equal(own.continues, continues.float())


@pytest.mark.parametrize("stop", [0, 2, STEPS, STEPS + 1])
def test_continues_from_its_state(stop):
    """Before, within and after a rollout."""
    one, other = rollout(), rollout()
    filled(one, min(stop, STEPS))
    if stop > STEPS:
        one.take()
        filled(one, stop - STEPS, STEPS)
    other.load_state_dict({k: x.clone() for k, x in one.state_dict().items()})
    rest = -stop % STEPS if stop != STEPS else 0
    for memory in (one, other):
        filled(memory, rest or (0 if stop == STEPS else STEPS), stop)
    first, second = one.take(), other.take()
    assert first.keys() == second.keys() == GROUPS.keys()
    for g in GROUPS:
        for name in ("observation", "next_observation", "continues"):
            assert torch.equal(getattr(first[g], name), getattr(second[g], name))


def test_nothing_is_stored_of_a_rollout_that_was_taken():
    one, other = rollout(), rollout()
    filled(one, STEPS)
    one.take()
    other.load_state_dict(one.state_dict())
    for memory in (one, other):
        filled(memory, STEPS, STEPS)
    assert torch.equal(one.take()["one"].next_observation, other.take()["one"].next_observation)


def learner(draws, **more):
    return SimpleNamespace(
        columns=lambda groups: columns_of({g: groups[g] for g in draws}, **more),
        sampling=lambda groups: draws,
    )


def sizes(update_every=WORLDS * STEPS, replay_size=50):
    return SimpleNamespace(update_every=update_every, replay_size=replay_size, num_worlds=WORLDS)


def test_rollouts_beside_replay():
    draws = {"one": Sampling("rollout"), "two": Sampling("windows", 2)}
    memory = Memory(GROUPS, learner(draws), sizes(), torch.Generator())
    filled(memory, STEPS - 1)
    assert memory.sample(5).keys() == {"two"}
    filled(memory, 1, STEPS - 1)
    other = Memory(GROUPS, learner(draws), sizes(), torch.Generator())
    other.load_state_dict(memory.state_dict())
    for batch in (memory.sample(5), other.sample(5)):
        assert batch["one"].observation.shape == (STEPS, WORLDS, 2, 1)
        assert batch["two"].observation.shape == (5, 2, 1, 1)
    assert memory.sample(5).keys() == {"two"}  # a rollout is used once


def test_one_kind_is_a_replay():
    """Its state has the names that it has alone."""
    draws = dict.fromkeys(GROUPS, Sampling("agents"))
    memory = Memory(GROUPS, learner(draws), sizes(), torch.Generator())
    alone = Replay(GROUPS, 50, torch.Generator())
    for each in (memory, alone):
        filled(each, 7)
    ours, theirs = memory.sample(6), alone.sample(6, "agents")
    assert all(torch.equal(ours[g].reward, theirs[g].reward) for g in GROUPS)
    assert memory.state_dict().keys() == alone.state_dict().keys()


def test_added_columns_come_along():
    draws = {"two": Sampling("rollout")}
    agent = learner(draws, value=Column(next=True))
    memory = Memory(GROUPS, agent, sizes(), torch.Generator())
    for t, transition in enumerate(itertools.islice(transitions(), STEPS)):
        value = {"two": np.full((WORLDS, 1), t, "f4")}
        added = {"value": value, "next_value": {"two": value["two"] + 0.5}}
        memory.add(transition._replace(added=added))
    batch = memory.sample(1)["two"]
    assert batch.added["value"][2, 0, 0] == 2
    assert batch.added["next_value"][-1, 0, 0] == STEPS - 0.5


def test_worlds_fill_a_rollout():
    with pytest.raises(ValueError, match=r"training\.update_every is 13, but .* multiple"):
        Memory(GROUPS, learner({"one": Sampling("rollout")}), sizes(13), torch.Generator())
