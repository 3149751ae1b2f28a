"""A run that takes a moment, also stopped and resumed, and commands in processes of their own."""

import json
import signal
import sys
from pathlib import Path

import forks
import pytest

from marl.config.model import Config
from marl.runs.run import Run
from marl.training import loop as training
from marl.training.session import Session

TINY = {
    "world": {"episode_length": 10},
    "agent": {"hidden": [8], "average": 0.9},
    "exploration": {"kind": "ou"},
    "training": {
        "steps": 400,
        "num_worlds": 4,
        "batch_size": 8,
        "replay_size": 150,
        "learning_starts": 16,
        "update_every": 8,
        "log_every": 40,
        "checkpoint_every": 80,
        "evaluate_every": 0,
    },
}
MARL = [sys.executable, "-m", "marl.cli"]


def write_tiny(folder: Path) -> Path:
    """The config as a file."""
    path = folder / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


def start(*arguments: str, popen=forks.Popen):
    """A `marl` command in the background."""
    return popen([*MARL, *arguments], stdout=forks.PIPE, stderr=forks.PIPE, text=True)


def stop_at(monkeypatch, step: int, action) -> None:
    """Do something when the run has come so far."""
    advance = Session.advance

    def watched(session, *args):
        result = advance(session, *args)
        if session.step == step:
            action(session)
        return result

    monkeypatch.setattr(Session, "advance", watched)


def check_resumes(config: Config, monkeypatch, step: int) -> None:
    """A run that is stopped there and resumed ends with the bytes of one that is not."""
    training.train(config, "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, step, lambda session: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt, match=f"step {step}; continue with: marl resume cut"):
            training.train(config, "cut")
    training.resume("cut")
    assert Run("cut").weights.read_bytes() == Run("whole").weights.read_bytes()
