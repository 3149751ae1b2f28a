import errno
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from loop_runs import tiny, weights
from tiny import TINY, check_resumes, start, stop_at, write_tiny

from marl import evaluation
from marl.agents.ddpg import DDPG
from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.runs.checkpoint import read_checkpoint, write_checkpoint
from marl.runs.loading import find_policy
from marl.runs.log import read_log
from marl.runs.run import Run
from marl.training import session
from marl.training.loop import Stopped, resume, train
from marl.training.session import Session


def test_same_seed_same_bytes_and_other_seed_other_bytes(data):
    for name in ("a", "b"):
        train(tiny("training.seed=3"), name)
    assert weights("a") == weights("b")
    train(tiny("training.seed=4"), "c")
    a, c = (read_checkpoint(Run(name).weights).tensors for name in "ac")
    assert any((a[k] != c[k]).any() for k in a)


def test_a_run_learns_logs_and_evaluates(data, drawn):
    train(tiny("training.evaluate_every=200"), "a")
    first, *_ = lines = read_log(Run("a").stats)
    logged = [line for line in lines if "losses" in line]
    assert [line["step"] for line in logged] == list(range(40, 401, 40))
    keys = {"step", "cpu_seconds", "wall_seconds", "episodes", "updates", "reward"}
    assert set(first) == keys | {"losses", "metrics", "steps_per_second"}
    assert logged[-1]["episodes"] == 400 // TINY["world"]["episode_length"]
    assert logged[-1]["updates"] == (400 - 8) // 8  # the first multiple of 8 learns nothing yet
    assert [line["step"] for line in lines if "evaluation" in line] == [200, 400]
    assert (Run("a").stats / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert read_checkpoint(Run("a").weights).step == 400


def test_evaluations_with_other_numbers_of_agents(data):
    """As `marl evaluate` plays them, landmarks growing in step; the run itself is none the
    wiser."""
    settings = "training.evaluate_every=200", "world.num_landmarks=2"
    train(tiny(*settings), "a")
    train(tiny(*settings, "training.evaluate_agents=[12, 1]"), "b")
    a, b = (read_checkpoint(Run(name).weights).tensors for name in "ab")
    assert all(np.array_equal(a[k], b[k]) for k in a)
    lines = [line for line in read_log(Run("b").stats) if "evaluation" in line]
    assert [line["step"] for line in lines] == [200, 400]
    seed = int(np.random.SeedSequence(0).generate_state(4)[3])
    subject = find_policy("b")
    for key, n, episodes in (
        ("evaluation", 4, 200),
        ("evaluation_12", 12, 67),
        ("evaluation_1", 1, 800),
    ):
        world = subject.world_for(n)
        assert world.num_landmarks == max(1, n // 2)
        expected = evaluation.evaluate(subject.policy, world, n, episodes, seed)
        assert lines[-1][key] == expected


def test_a_run_that_falls_behind_says_so(data, capsys):
    settings = ["training.evaluate_every=200", "training.evaluate_agents=[12]"]
    expected = 'evaluation.expected={"4":0.0,"12":1.0,"80":1.0}'
    train(tiny(*settings, expected), "a")
    said = capsys.readouterr().out
    result = read_log(Run("a").stats)[-1]["evaluation_12"]
    assert f"   {result['coverage']:.3f} with 12" in said  # beside that with 4
    assert said.count("runs of this config reach") == 1  # 80 agents were not evaluated
    sentence = f"With 12 agents this run has coverage {result['coverage']:.3f}; runs of this config"
    assert f"{sentence} reach 1 or more." in said
    assert said.rstrip().endswith("marl evaluate a --agents 12")


def test_worlds_that_differ_are_stopped_and_resumed(data, monkeypatch):
    vary = 'training.vary={"num_landmarks":[4,6,4],"agent_density":[4.0,2.0]}'
    check_resumes(tiny("training.steps=240", vary), monkeypatch, 164)


@pytest.mark.parametrize("step", [4, 36, 40, 44, 160, 200])  # among them ends of episodes
@pytest.mark.parametrize("staggered", ["true", "false"])
def test_stopped_and_resumed_ends_as_uninterrupted(data, monkeypatch, step, staggered):
    config = tiny("training.steps=240", f"training.staggered={staggered}")
    check_resumes(config, monkeypatch, step)


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
        session.agent.learners["agents"].actor.output.bias.data[:] = torch.inf

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


def test_the_state_of_another_run_is_refused(data):
    for name, settings in (("a", ()), ("b", ("agent.hidden=[9]",)), ("c", ("training.seed=1",))):
        train(tiny(*settings), name)
    own, before = Run("a").state.read_bytes(), weights("a")
    for other, sentence in (
        ("b", r"agent\.hidden \[9\] instead of \[8\]"),
        ("c", "seed 1 instead of 0"),
    ):
        shutil.copy(Run(other).state, Run("a").state)
        with pytest.raises(UserError, match=f"is of another run than 'a', with .*{sentence}"):
            resume("a", ["training.steps=480"])
        assert weights("a") == before
    Run("a").state.write_bytes(own)
    resume("a", ["training.steps=480"])
    assert read_checkpoint(Run("a").weights).step == 480


@pytest.mark.parametrize("full", ["state.safetensors", "weights.safetensors"])
def test_settings_changed_on_the_way_and_cut_off_at_the_next_checkpoint(data, monkeypatch, full):
    """As a kill between state and weights would."""
    train(tiny("training.steps=80"), "a")
    replace = os.replace

    def cut(source, target):
        if str(target).endswith(full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut)
        with pytest.raises(UserError, match=f"{full}: No space left"):
            resume("a", ["training.steps=240"])
    assert read_checkpoint(Run("a").weights).step == 80
    resume("a", [] if full == "weights.safetensors" else ["training.steps=240"])
    train(tiny("training.steps=240"), "whole")
    assert weights("a") == weights("whole")


@pytest.mark.parametrize(
    "tensor", ["agent.agents.actor_optimiser.0.exp_avg", "loop.done", "replay.next", "world.draws"]
)
def test_a_state_whose_tensors_have_another_shape_is_refused(data, tensor):
    """An optimiser would read beyond the end of its moments."""
    train(tiny("training.steps=80"), "a")
    state = read_checkpoint(Run("a").state, "state")
    tensors = {**state.tensors, tensor: np.repeat(state.tensors[tensor].reshape(-1), 3) + 1000}
    extra = {"counters": state.extra["counters"]}
    write_checkpoint(Run("a").state, "state", state.config.resolve(), state.step, tensors, **extra)
    with pytest.raises(UserError, match="does not fit its config"):
        resume("a", ["training.steps=160"])


def test_the_best_weights_are_the_best_over_all_numbers_evaluated(data, monkeypatch):
    scores = {100: (0.5, 0.5), 200: (0.9, 0.0), 300: (0.2, 0.7), 400: (0.4, 0.4)}
    at, seen = [0], {}

    def score(policy, world, agents, episodes, seed, **rest):
        return {"agents": agents, "x": scores[at[0]][agents == 12], "x_ci95": None}

    def watched(session, stop):
        at[0] = session.step
        seen[session.step] = session.agent.weights()
        return evaluate(session, stop)

    evaluate = Session.evaluate
    monkeypatch.setattr(session, "evaluate", score)
    monkeypatch.setattr(Session, "evaluate", watched)
    wanted = ("training.evaluate_every=100", "training.evaluate_agents=[12]")
    for publish, step in (("best", 100), ("last", 400)):
        train(tiny(*wanted, f"training.publish={publish}"), publish)
        found = read_checkpoint(Run(publish).weights).tensors
        assert all(np.array_equal(found[k], x) for k, x in seen[step].items())
        assert any((seen[100][k] != x).any() for k, x in seen[200].items())


@pytest.mark.parametrize("counters", [None, {}, {"updates": "x"}, {"updates": 1, "best_score": []}])
def test_a_state_with_damaged_counters_is_refused(data, counters):
    train(tiny("training.steps=80"), "a")
    state = read_checkpoint(Run("a").state, "state")
    extra = {"counters": counters}
    config = state.config.resolve()
    write_checkpoint(Run("a").state, "state", config, state.step, state.tensors, **extra)
    with pytest.raises(UserError, match="does not fit its config"):
        resume("a", ["training.steps=160"])


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("training.replay_size=1000000000000000", r"training\.replay_size is"),
        ("agent.network=set", r"agent\.network is 'set'"),
        ("exploration.kind=epsilon", r"exploration\.kind is 'epsilon'; 'maddpg' has"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_the_name_free(data, setting, sentence):
    with pytest.raises(UserError, match=sentence):
        train(tiny("agent.name=maddpg", "agent.augment=true", setting), "a")
    assert train(tiny(), "a") == "a"


LONG = ["--set", "training.steps=2400", "training.checkpoint_every=80", "training.log_every=80"]


def wait_for(path, process) -> None:
    """Until something was written there."""
    while not (path.exists() and path.stat().st_size) and process.poll() is None:
        time.sleep(0.01)


def wait_for_events(process) -> None:
    """Until this process has begun to work: its events file bears its number."""
    while not list(Run("cut").stats.glob(f"events*.{process.pid}")) and process.poll() is None:
        time.sleep(0.01)


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.long)])
def test_killed_at_random_moments_and_resumed_ends_as_uninterrupted(data, tmp_path, kills):
    config = write_tiny(tmp_path)
    train(tiny(*LONG[1:]), "whole")
    moments = random.Random(os.getpid())
    process = start("train", str(config), "--name", "cut", *LONG)
    wait_for(Run("cut").stats / "log.jsonl", process)
    for _ in range(kills):
        time.sleep(moments.uniform(0, 0.4))
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
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    step = read_checkpoint(Run("cut").weights).step
    assert errors == f"Stopped at step {step}; continue with: marl resume cut\n"
    assert 0 < step < 2400
    train(tiny(*LONG[1:]), "whole")
    resume("cut")
    assert weights("cut") == weights("whole")


def test_outcomes_are_averaged_over_the_last_100_episodes(data, monkeypatch):
    """One rally after another, a line of the log a step: what was known at its end, if it ended.
    Here the last four, so that fewer have to be played."""
    assert session.LAST == 100
    monkeypatch.setattr(session, "LAST", 4)
    config = {
        "world": {"scenario": "tennis"},
        "agent": {"hidden": [8]},
        "training": {
            "num_worlds": 1, "steps": 240, "replay_size": 1, "batch_size": 1,
            "learning_starts": 240, "log_every": 1, "evaluate_every": 0,
        },
    }  # fmt: skip
    config = parse_config(config)
    train(config, "a")
    lines, scores = read_log(Run("a").stats), []
    for line in lines:
        scores += line["metrics"].values()
        assert line["episodes"] == len(scores)
        known = line.get("last_100", {}).get("score")
        expected = pytest.approx(np.mean(scores[-4:])) if len(scores) >= 4 else None
        assert known == expected
    assert len(scores) > 8
    assert len(set(scores)) > 1
    stop_at(monkeypatch, 180, lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped):
        train(config, "b")
    resume("b")
    for line, other in zip(lines, read_log(Run("b").stats), strict=True):
        for key in ("episodes", "last_100"):
            assert line.get(key) == other.get(key)
