"""Batches and transitions keep every column when one of them is replaced."""

from dataclasses import fields, replace

import torch

from marl.learning.record import Batch, Transition


def test_a_batch_keeps_every_column():
    """Those of who had left, of windows, and those that agents add."""
    values = {field.name: torch.rand(2, 3) for field in fields(Batch)}
    batch = Batch(**{**values, "added": {"in_force": torch.rand(2, 3, 4)}})
    reward = batch.reward - 1.0
    changed = replace(batch, reward=reward)
    assert changed.reward is reward
    for name in {*values} - {"reward"}:
        assert getattr(changed, name) is getattr(batch, name)


def test_a_transition_keeps_every_column():
    transition = Transition(*[object() for _ in Transition._fields])
    changed = transition._replace(reward={})
    assert changed._asdict() == {**transition._asdict(), "reward": {}}
