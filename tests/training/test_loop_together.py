"""Runs trained side by side are what they are alone, however they end."""

import errno
import math
import os
import shutil
import signal

import numpy as np
import pytest
from loop_runs import tiny, weights
from tiny import TINY, stop_at

from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.runs import checkpoint
from marl.runs.checkpoint import read_checkpoint
from marl.runs.log import read_log
from marl.runs.run import Run, run_state
from marl.training.loop import Stopped, train, train_together
from marl.training.session import NotFinite

SEEDS = ("s-0", "s-1", "s-2")


def seeds(*settings: str):
    return {name: tiny(f"training.seed={i}", *settings) for i, name in enumerate(SEEDS)}


def test_runs_side_by_side_are_what_they_are_alone(data):
    """As long as rounding has no time to grow."""
    short = ("training.steps=80", "training.learning_starts=48", "training.evaluate_every=40")
    train_together(seeds(*short))
    for name, config in seeds(*short).items():
        train(config, f"alone-{name}")
        own, alone = (read_checkpoint(Run(x).weights) for x in (name, f"alone-{name}"))
        assert own.step == alone.step == 80
        for key, array in alone.tensors.items():
            np.testing.assert_allclose(own.tensors[key], array, atol=1e-6)
        lines, expected = (read_log(Run(x).stats) for x in (name, f"alone-{name}"))
        assert len(lines) == len(expected) == 4
        for line, other in zip(lines, expected, strict=True):
            assert line.keys() == other.keys()
            if "evaluation" in line:
                assert line["evaluation"]["seed"] == other["evaluation"]["seed"]
            else:
                assert line["updates"] == other["updates"]
                assert line["reward"] == pytest.approx(other["reward"], abs=1e-5)


def interrupt_once(session):
    if session.run.name == "s-0":
        signal.raise_signal(signal.SIGINT)


def test_side_by_side_stopped_and_continued_ends_as_uninterrupted(data, monkeypatch):
    train_together(seeds())
    whole = [weights(name) for name in SEEDS]
    assert len({*whole}) == 3
    for name in SEEDS:
        shutil.rmtree(Run(name).models)
        shutil.rmtree(Run(name).stats)
    with monkeypatch.context() as patch:
        stop_at(patch, 168, interrupt_once)
        with pytest.raises(Stopped):
            train_together(seeds())
    assert [read_checkpoint(Run(name).weights).step for name in SEEDS] == [168] * 3
    train_together(seeds())
    assert [weights(name) for name in SEEDS] == whole


def test_a_full_disk_leaves_them_as_far_as_each_other(data, monkeypatch):
    """So that they go on side by side, with the bytes of uninterrupted ones."""
    train_together(seeds())
    whole = [weights(name) for name in SEEDS]
    for name in SEEDS:
        shutil.rmtree(Run(name).models)
        shutil.rmtree(Run(name).stats)
    save_file = checkpoint.save_file

    def full(arrays, path, *rest):
        if path.parent.name == "s-1" and Run("s-1").state.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_file(arrays, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(UserError, match=r"s-1/state\.safetensors: No space left on device"):
            train_together(seeds())
    assert [read_checkpoint(Run(name).state, "state").step for name in SEEDS] == [0] * 3
    train_together(seeds())
    assert [weights(name) for name in SEEDS] == whole


def test_another_config_than_the_one_that_was_begun_is_refused(data):
    train_together(seeds("training.steps=80"))
    with pytest.raises(UserError, match=r"'s-0' already, with training\.steps 80 instead of 400"):
        train_together(seeds())


def test_one_that_fails_side_by_side_says_which(data, monkeypatch):
    def spoil(session):
        if session.run.name == "s-1":
            next(iter(session.agent.learners["agents"].actor.parameters())).data.fill_(math.nan)

    with monkeypatch.context() as patch:
        stop_at(patch, 200, spoil)
        with pytest.raises(NotFinite) as error:
            train_together(seeds())
    assert error.value.run == "s-1"
    others = {name: config for name, config in seeds().items() if name != "s-1"}
    train_together(others)  # from their last checkpoint
    assert [run_state(name).state for name in SEEDS] == ["finished", "stopped", "finished"]
    assert all(np.isfinite(x).all() for x in read_checkpoint(Run("s-1").weights).tensors.values())


def test_what_cannot_be_stacked_is_trained_one_after_the_other(data):
    """Another config, another agent, another step; what is finished stays."""
    configs = {
        "a": tiny("training.steps=80"),
        "b": tiny("training.steps=80", "agent.gamma=0.5"),
        "c": parse_config({**TINY, "agent": {"name": "atoc_comm", "hidden": [8]}}),
    }
    train(configs["a"], "a")
    before = weights("a")
    train_together(configs)
    assert weights("a") == before
    train(configs["b"], "b-alone")
    assert weights("b") == weights("b-alone")
    assert run_state("c").state == "finished"
