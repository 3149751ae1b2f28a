import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import forks
import pytest
from nets import NAMES, wait_until, weights, write_sweep
from shell import full_disk, refused, run
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tiny import TINY, start, write_tiny

from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.runs.checkpoint import read_checkpoint
from marl.runs.log import Log
from marl.runs.run import Run, run_state
from marl.sweeps.runner import run_sweep
from marl.sweeps.sweep import load_sweep, runs_of, sweep_names
from marl.training.loop import train, train_together

SHORT = {"training.steps": 240}


def uninterrupted():
    """The same four runs, short, trained alone."""
    names = []
    for hidden in ("[8]", "[4,8]"):
        for seed in (0, 1):
            names.append(f"alone-{len(names)}")
            settings = [f"agent.hidden={hidden}", f"training.seed={seed}", "training.steps=240"]
            train(parse_config(with_settings(TINY, settings)), names[-1])
    return weights(names)


def test_a_grid_of_configs_values_and_seeds(data, tmp_path):
    path = write_sweep(
        tmp_path,
        base=[str(write_tiny(tmp_path)), "maddpg"],
        settings={"training.steps": 80},
        grid={"world.num_agents": [2, 3], "world.reward": ["shared", "nearest"]},
        seeds=[5, 7],
    )
    jobs = {job.name: job for job in load_sweep(path).jobs}
    assert len(jobs) == 16
    job = jobs["nets-maddpg-3-nearest-7"]
    assert job.point == {"base": "maddpg", "world.num_agents": 3, "world.reward": "nearest"}
    config = job.config
    assert (config.agent_name, config.world.num_agents) == ("maddpg", 3)
    assert (config.world.reward, config.training.steps) == ("nearest", 80)
    assert (config.training.seed, job.seed) == (7, 7)
    assert jobs["nets-tiny-2-shared-5"].config.agent.hidden == (8,)


def test_bases_with_names_and_settings_of_their_own(data, tmp_path):
    tiny = str(write_tiny(tmp_path))
    bases = {
        "slow learner": {"config": tiny, "settings": {"agent.actor_lr": 0.1, "agent.gamma": 0.5}},
        "MADDPG": {"config": "maddpg"},
    }
    settings = {"agent.actor_lr": 0.2, "agent.critic_lr": 0.3, "training.steps": 80}
    path = write_sweep(
        tmp_path, base=bases, settings=settings, grid={"agent.gamma": [0.6]}, seeds=1
    )
    slow, maddpg = load_sweep(path).jobs
    assert (slow.name, maddpg.name) == ("nets-slow_learner-0.6-0", "nets-MADDPG-0.6-0")
    assert slow.point == {"base": "slow learner", "agent.gamma": 0.6}
    rates = [(x.config.agent.actor_lr, x.config.agent.critic_lr) for x in (slow, maddpg)]
    assert rates == [(0.1, 0.3), (0.2, 0.3)]
    assert slow.config.agent.gamma == 0.6


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"base": {"a": {"conf": "spread"}}}, "sweep.base.a.config is missing"),
        ({"base": {"a": {"config": "spread", "b": 1}}}, "sweep.base.a.b is not a known setting"),
        ({"base": {"a": {"config": "spread", "settings": {"a.b": 1}}}}, "a is not a known setting"),
        ({"base": {}}, "sweep.base names nothing to train"),
        ({"base": 3}, "sweep.base is 3, but should be a config, a list of them, or"),
        ({"grit": {}}, "sweep.grit is not a known setting; did you mean sweep.grid?"),
        ({"grid": {"agent.hiden": [[8]]}}, "agent.hiden is not a known setting; did you mean"),
        ({"grid": {"agent.hidden": []}}, "sweep.agent.hidden names nothing to train"),
        ({"grid": {"agent.hidden": [[8], [8]]}}, "sweep.agent.hidden holds a value twice"),
        ({"grid": {"agent.hidden": [8]}}, "agent.hidden is 8, but should be a valid"),
        ({"grid": {"agent.hidden": 8}}, "sweep.grid.agent.hidden is 8, but should be a valid"),
        ({"grid": {"a": [1], "agent.hidden": [[8]]}}, "a is not a known setting"),
        ({"seeds": 0}, "sweep.seeds names nothing to train"),
        ({"seeds": [1, 1]}, "sweep.seeds holds a value twice"),
        ({"seeds": [-1]}, "training.seed is -1, but should be"),
        ({"seeds": "many"}, "sweep.seeds"),
        ({"base": "no-such"}, "there is no config 'no-such'"),
        ({"base": []}, "sweep.base names nothing to train"),
        ({"base": ["spread", "data/json/spread.json"]}, "should not hold a config twice"),
        ({"base": {"a b": {"config": "spread"}, "a_b": {"config": "atoc"}}}, "would both be"),
    ],
)
def test_a_bad_sweep_is_refused_before_anything_is_trained(data, tmp_path, changed, sentence):
    with pytest.raises(UserError) as error:
        load_sweep(write_sweep(tmp_path, **changed))
    assert sentence in str(error.value)
    assert not data.exists()


def test_runs_are_what_they_are_alone_and_are_not_trained_twice(data, tmp_path, capsys):
    path = str(write_sweep(tmp_path, settings=SHORT))
    status, out, _ = run(capsys, "sweep", path, "--workers", "2")
    assert status == 0
    assert out.splitlines()[0] == "sweep nets: 4 runs, 0 of them finished"
    assert sorted(line.split()[0] for line in out.splitlines()[1:5]) == sorted(NAMES)
    assert weights() == uninterrupted()
    assert not any(Run(name).state.exists() for name in NAMES)
    assert sweep_names() == ["nets"]
    assert [(x["name"], x["point"], x["seed"]) for x in runs_of("nets")][2] == (
        "nets-4_8-0", {"agent.hidden": [4, 8]}, 0
    )  # fmt: skip
    before = [Run(name).weights.stat().st_mtime_ns for name in NAMES]
    status, out, _ = run(capsys, "sweep", path)
    assert status == 0
    assert "4 of them finished" in out
    assert [Run(name).weights.stat().st_mtime_ns for name in NAMES] == before
    # more seeds: only these are trained
    list(run_sweep(load_sweep(write_sweep(tmp_path, seeds=3, settings=SHORT)), 2))
    assert [Run(name).weights.stat().st_mtime_ns for name in NAMES] == before
    assert run_state("nets-8-2").state == "finished"


def test_tensorboard_shows_sweep_point_and_seed(data, tmp_path):
    for path in (write_sweep(tmp_path), write_sweep(tmp_path, "plain", grid={})):
        sweep = load_sweep(path)
        for _ in range(2):
            sweep.write()
        for job in sweep.jobs:
            with Run.create(job.name, job.config) as run:
                Log(run.stats, 0).close()
    shown = EventMultiplexer().AddRunsFromDirectory(str(data / "tensorboard")).Reload().Runs()
    assert sorted(shown) == [
        "nets/4_8/0", "nets/4_8/1", "nets/8/0", "nets/8/1", "plain/0", "plain/1"
    ]  # fmt: skip
    link = data / "tensorboard" / "nets" / "4_8" / "1"
    assert link.resolve() == Run("nets-4_8-1").stats.resolve()


def test_a_run_that_fails_says_why_and_the_others_go_on(data, tmp_path, capsys):
    grid = {"training.learning_starts": [16, 10000]}  # the second never learns
    settings = {"agent.critic_lr": 1e38}
    path = write_sweep(tmp_path, grid=grid, seeds=1, settings=settings)
    status, out, error = run(capsys, "sweep", str(path), "--workers", "1")
    assert status == 1
    assert error == "marl: 1 of 2 runs failed; the same command tries them again\n"
    failed = next(line for line in out.splitlines() if " failed " in line)
    assert "nets-16-0" in failed
    assert "is no longer a finite number at step" in failed
    assert run_state("nets-10000-0").state == "finished"


def test_a_process_that_dies_takes_only_its_run_with_it(data, tmp_path):
    path = write_sweep(tmp_path, grid={"training.steps": [2000, 80]}, seeds=1)
    sweep = load_sweep(path)
    killed = False
    for _ in run_sweep(sweep, 1):
        if not killed and Run("nets-2000-0").weights.exists():
            (process,) = forks.running()
            process.kill()
            killed = True
    assert sweep.failures == {"nets-2000-0": "its process was killed by SIGKILL"}
    assert run_state("nets-80-0").state == "finished"
    list(run_sweep(sweep, 1))
    assert run_state("nets-2000-0").state == "finished"


def test_seeds_side_by_side(data, tmp_path, capsys):
    """Three to a process, but only those of one point in the grid; a failure is one run's."""
    path = write_sweep(tmp_path, seeds=4, seeds_per_process=3, settings=SHORT)
    sweep = load_sweep(path)
    batches = [[job.name for job in batch] for batch in sweep.batches(sweep.jobs)]
    assert batches == [
        ["nets-8-0", "nets-8-1", "nets-8-2"], ["nets-8-3"],
        ["nets-4_8-0", "nets-4_8-1", "nets-4_8-2"], ["nets-4_8-3"],
    ]  # fmt: skip
    assert run(capsys, "sweep", str(path), "--workers", "1")[0] == 0
    assert {run_state(job.name).state for job in sweep.jobs} == {"finished"}
    train_together({job.name + "x": job.config for job in sweep.jobs[:3]})
    assert weights(batches[0]) == weights([name + "x" for name in batches[0]])


def test_another_config_under_the_same_name_is_refused(data, tmp_path, capsys):
    train(parse_config(TINY), "nets-8-1")
    before = weights(["nets-8-1"])
    sentence = refused(capsys, "sweep", str(write_sweep(tmp_path)))
    assert "there is a run 'nets-8-1' already, with training.seed 0 instead of 1" in sentence
    assert weights(["nets-8-1"]) == before
    assert run_state("nets-8-0").state == "new"


@pytest.mark.parametrize("name", ["../x", "x/y", ".."])
def test_names_of_sweeps_stay_in_their_folder(data, tmp_path, name):
    with pytest.raises(UserError, match="cannot be the name of a run"):
        load_sweep(write_sweep(tmp_path), name)
    assert not data.exists()


def test_a_full_disk_during_a_sweep(data, tmp_path):
    """Every run keeps its last good checkpoint, says why it failed, and goes on later."""
    path = write_sweep(tmp_path, seeds_per_process=2, settings={"training.steps": 240})
    done = full_disk(100_000, "sweep", str(path), "--workers", "2")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("marl: 4 of 4 runs failed")
    assert done.stdout.count("state.safetensors: File too large") == 4
    assert [read_checkpoint(Run(name).state, "state").step for name in NAMES] == [80] * 4
    assert [run_state(name).step for name in NAMES] == [80] * 4
    list(run_sweep(load_sweep(path), 2))
    cut = weights()
    list(run_sweep(load_sweep(path, "whole"), 2))
    assert cut == weights([name.replace("nets", "whole") for name in NAMES])


def test_two_sweeps_on_one_folder(data, tmp_path, capsys):
    path = write_sweep(tmp_path)
    first = run_sweep(load_sweep(path), 1)
    next(first)
    assert (
        refused(capsys, "sweep", str(path)) == "marl: another process works on the sweep 'nets'\n"
    )
    first.close()
    assert run(capsys, "sweep", str(path))[0] == 0


def test_damaged_weights_are_written_anew_from_the_state(data, tmp_path):
    """While there is one, as after a kill at the very end; without it the run has failed."""
    path = write_sweep(tmp_path, seeds=1, grid={"agent.hidden": [[8]]})
    train(load_sweep(path).jobs[0].config, "nets-8-0")
    whole = weights(["nets-8-0"])
    for failures in ({}, {"nets-8-0": f"{Run('nets-8-0').state} was removed"}):
        Run("nets-8-0").weights.write_bytes(whole[0][:-9])
        sweep = load_sweep(path)
        list(run_sweep(sweep, 1))
        assert sweep.failures.keys() == failures.keys()
        assert failures or weights(["nets-8-0"]) == whole
        for name, reason in failures.items():
            assert reason in sweep.failures[name]
    assert not Run("nets-8-0").state.exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"runs": 3}', '{"runs": [{"name": "a"}]}', "{"])
def test_a_damaged_list_of_runs(data, content, capsys):
    path = data / "sweeps" / "nets" / "sweep.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    sentence = refused(capsys, "compare", "nets")
    assert str(path) in sentence
    path.write_text('{"runs": [{"name": "../../x", "point": {}, "seed": 0}]}')
    assert "cannot be the name of a run" in refused(capsys, "compare", "nets")


@pytest.mark.parametrize(
    "popen",
    [forks.Popen, pytest.param(subprocess.Popen, marks=pytest.mark.long)],
    ids=["forks", "processes as users have them"],
)
def test_ctrl_c_saves_and_the_same_command_continues(data, tmp_path, popen):
    path = write_sweep(tmp_path, grid={"training.steps": [2000, 80]}, seeds=1)
    process = start("sweep", str(path), "--workers", "1", popen=popen)
    wait_until(lambda: Run("nets-2000-0").weights.exists())
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.startswith("Stopped; all runs are saved: the same command continues the sweep")
    assert [run_state(f"nets-{x}-0").state for x in (2000, 80)] == ["stopped", "new"]
    list(run_sweep(load_sweep(path), 1))
    assert [run_state(f"nets-{x}-0").state for x in (2000, 80)] == ["finished", "finished"]


def test_a_process_that_is_to_stop_while_it_ends_a_run_stops(data, tmp_path):
    """Its run takes no notice of the interrupt, as it is finished."""
    code = (
        "import sys, time, pathlib; from marl.errors import run_command\n"
        "from marl.sweeps.worker import work\n"
        "from marl.training.session import Session\n"
        "write = Session.write\n"
        "def slowly(session, files):\n"
        "    if session.step == 400:\n"
        "        pathlib.Path(sys.argv[1]).touch()\n"
        "        time.sleep(1)\n"
        "    write(session, files)\n"
        "Session.write = slowly\n"
        "run_command(work)"
    )
    pipes = {"stdin": forks.PIPE, "stdout": forks.PIPE}
    process = forks.Popen([sys.executable, "-c", code, str(tmp_path / "saving")], **pipes)
    process.stdin.write(json.dumps({"a": parse_config(TINY).to_json()}) + "\n")
    process.stdin.flush()
    wait_until((tmp_path / "saving").exists)
    try:
        assert process.communicate(timeout=60)[0] == "{}\n"  # closes its standard input
    finally:
        process.kill()
    assert run_state("a").state == "finished"


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.long)])
def test_killed_at_random_moments_it_continues_and_nothing_is_lost(data, tmp_path, kills):
    """The sweep's own process; its runs notice, save and stop, so that the next can have them."""
    path = write_sweep(tmp_path, settings=SHORT)
    dice = random.Random(time.time_ns())
    for _ in range(kills):
        process = start("sweep", str(path), "--workers", "2")
        wait_until(lambda: Run(NAMES[0]).weights.exists())
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=dice.uniform(0.0, 0.5))
        finished = {name for name in NAMES if run_state(name).state == "finished"}
        process.kill()
        process.communicate()
        assert all(run_state(name).state == "finished" for name in finished)
    list(run_sweep(load_sweep(path), 2))
    assert weights() == uninterrupted()
