import errno
import os
import random
import signal
import time

import pytest
import torch
from tiny import TINY, start, write_tiny

from marl import training
from marl.agents.ddpg import DDPG
from marl.config import parse_config, with_settings
from marl.errors import UserError
from marl.runs import Run, read_checkpoint, read_log
from marl.training import resume, train


def tiny(*settings: str):
    return parse_config(with_settings(TINY, settings))


def weights(name: str) -> bytes:
    return Run(name).weights.read_bytes()


def test_same_seed_same_bytes_and_other_seed_other_bytes(data):
    for name in ("a", "b"):
        train(tiny("training.seed=3"), name)
    assert weights("a") == weights("b")
    train(tiny("training.seed=4"), "c")
    a, c = (read_checkpoint(Run(name).weights).tensors for name in "ac")
    assert any((a[k] != c[k]).any() for k in a)


def test_a_run_learns_logs_and_evaluates(data):
    train(tiny("training.evaluate_every=200"), "a")
    first, *_ = lines = read_log(Run("a").stats)
    logged = [line for line in lines if "losses" in line]
    assert [line["step"] for line in logged] == list(range(40, 401, 40))
    keys = {"step", "cpu_seconds", "wall_seconds", "updates", "reward", "losses", "metrics"}
    assert set(first) == keys | {"steps_per_second"}
    assert logged[-1]["updates"] == (400 - 8) // 8  # the first multiple of 8 learns nothing yet
    assert [line["step"] for line in lines if "evaluation" in line] == [200, 400]
    assert (Run("a").stats / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert read_checkpoint(Run("a").weights).step == 400


def stop_at(monkeypatch, step: int, action) -> None:
    """Do something when the run has come so far."""
    advance = training._Session.advance

    def watched(session, *args):
        result = advance(session, *args)
        if session.step == step:
            action(session)
        return result

    monkeypatch.setattr(training._Session, "advance", watched)


@pytest.mark.parametrize("step", [4, 36, 40, 44, 160, 200])  # among them ends of episodes
@pytest.mark.parametrize("staggered", ["true", "false"])
def test_stopped_and_resumed_ends_as_uninterrupted(data, monkeypatch, step, staggered):
    config = tiny("training.steps=240", f"training.staggered={staggered}")
    train(config, "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, step, lambda session: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt, match=f"step {step}; continue with: marl resume cut"):
            train(config, "cut")
    resume("cut")
    assert weights("cut") == weights("whole")


def test_a_crash_between_checkpoints_costs_nothing(data, monkeypatch):
    train(tiny(), "whole")

    def crash(session):
        raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        stop_at(patch, 300, crash)
        with pytest.raises(RuntimeError):
            train(tiny(), "cut")
    assert read_checkpoint(Run("cut").weights).step == 240
    resume("cut")
    assert weights("cut") == weights("whole")
    assert [line["step"] for line in read_log(Run("cut").stats)] == list(range(40, 401, 40))


def test_resume_with_more_steps(data):
    train(tiny(), "a")
    resume("a", ["training.steps=480"])
    assert read_checkpoint(Run("a").weights).step == 480


def test_resume_with_other_networks_is_refused(data):
    train(tiny(), "a")
    before = weights("a")
    with pytest.raises(UserError, match="does not fit its config"):
        resume("a", ["agent.hidden=[9]"])
    assert weights("a") == before


def test_a_loss_that_is_not_finite_stops_the_run(data, monkeypatch):
    update, calls = DDPG.update, []

    def poisoned(agent, batch):
        calls.append(1)
        result = update(agent, batch)
        return {**result, "critic_loss": torch.tensor(torch.nan)} if len(calls) > 30 else result

    monkeypatch.setattr(DDPG, "update", poisoned)
    with pytest.raises(UserError, match=r"critic_loss .* at step 280; the last good .* step 240"):
        train(tiny(), "a")
    assert read_checkpoint(Run("a").weights).step == 240
    assert read_checkpoint(Run("a").state, "state").step == 240


def test_weights_that_are_not_finite_stop_the_run(data, monkeypatch):
    def poison(session):
        session.agent._learners["agents"].actor.output.bias.data[:] = torch.inf

    stop_at(monkeypatch, 100, poison)
    with pytest.raises(UserError, match="no longer a finite number at step 120"):
        train(tiny(), "a")
    assert read_checkpoint(Run("a").weights).step == 80


def test_a_full_disk_leaves_the_last_good_checkpoint(data, monkeypatch):
    replace = os.replace

    def full(source, target):
        if str(target).endswith("state.safetensors") and state.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    state = Run("a").state
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(UserError, match=r"state\.safetensors: No space left on device"):
            train(tiny(), "a")
    assert read_checkpoint(state, "state").step == 0
    train(tiny(), "whole")
    resume("a")
    assert weights("a") == weights("whole")


def test_too_large_a_replay_is_refused(data):
    with pytest.raises(UserError, match=r"training\.replay_size"):
        train(tiny("training.replay_size=1000000000000000"), "a")


LONG = ["--set", "training.steps=4000", "training.checkpoint_every=80", "training.log_every=400"]


def wait_for(path, process) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


def wait_for_events(process) -> None:
    """Until this process has begun to work: its events file bears its number."""
    while not list(Run("cut").stats.glob(f"events*.{process.pid}")) and process.poll() is None:
        time.sleep(0.01)


def test_killed_at_random_moments_and_resumed_ends_as_uninterrupted(data, tmp_path):
    config = write_tiny(tmp_path)
    train(tiny(*LONG[1:]), "whole")
    moments = random.Random(os.getpid())
    process = start("train", str(config), "--name", "cut", *LONG)
    wait_for(Run("cut").stats / "config.json", process)
    for _ in range(3):
        time.sleep(moments.uniform(0, 1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        process = start("resume", "cut")
        wait_for_events(process)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert weights("cut") == weights("whole"), output


def test_ctrl_c_saves_and_says_how_to_resume(data, tmp_path):
    process = start("train", str(write_tiny(tmp_path)), "--name", "cut", *LONG)
    wait_for(Run("cut").stats / "log.jsonl", process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    step = read_checkpoint(Run("cut").weights).step
    assert errors == f"Stopped at step {step}; continue with: marl resume cut\n"
    assert 0 < step < 4000
    train(tiny(*LONG[1:]), "whole")
    resume("cut")
    assert weights("cut") == weights("whole")
