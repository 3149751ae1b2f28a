"""Against a Ray that is started here, on this machine."""

import os
import signal
import sys
from pathlib import Path

import pytest
from nets import wait_until, weights, write_sweep
from shell import refused, run
from tiny import start

from marl.runs.run import Run, run_state
from marl.sweeps.ray_runner import RayRunner, joined
from marl.sweeps.runner import run_sweep
from marl.sweeps.sweep import load_sweep


@pytest.mark.long
def test_runs_are_what_they_are_without_ray_and_one_that_fails_says_why(data, tmp_path, capfd):
    grid = {"training.learning_starts": [10000, 16]}  # the first never learns
    settings = {"agent.critic_lr": 1e38}
    path = write_sweep(tmp_path, grid=grid, settings=settings, seeds_per_process=2)
    status, out, error = run(capfd, "sweep", str(path), "--ray", "--workers", "2")
    assert status == 1
    assert error == "marl: 2 of 4 runs failed; the same command tries them again\n"
    lines = sorted(out.splitlines())
    assert [line.split()[:2] for line in lines[:4]] == [
        ["nets-10000-0", "finished"], ["nets-10000-1", "finished"],
        ["nets-16-0", "failed"], ["nets-16-1", "failed"],
    ]  # fmt: skip
    assert "is no longer a finite number at step" in lines[2]
    assert lines[4:] == ["sweep nets: 4 runs, 0 of them finished"]
    list(run_sweep(load_sweep(path, "here"), 2))
    names = ["10000-0", "10000-1", "16-0", "16-1"]
    assert weights([f"nets-{x}" for x in names]) == weights([f"here-{x}" for x in names])


@pytest.mark.long
def test_a_worker_that_dies_and_one_that_does_not_share_the_folder(data, tmp_path):
    path = write_sweep(tmp_path, settings={"training.steps": 4000}, seeds=1)
    sweep = load_sweep(path)
    killed = False
    with joined("", 1, sweep.folder) as (runner, cpus):
        assert cpus == 1
        elsewhere = RayRunner(tmp_path / "elsewhere").train({"a": {}})
        assert elsewhere["a"].endswith(f"does not share the folder {data}")
        for _ in run_sweep(sweep, 1, runner):
            if not killed and Run("nets-8-0").weights.exists():
                os.kill(parent_of_trainer(data), signal.SIGKILL)
                killed = True
    sentence = "its Ray worker failed: The actor is dead because its worker process has died"
    assert sweep.failures == {"nets-8-0": sentence}
    assert run_state("nets-4_8-0").state == "finished"


def parent_of_trainer(data):
    """The Ray worker whose process trains a run in this folder."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"MARL_DATA={data}".encode() in (folder / "environ").read_bytes()
            if ours and b"marl.sweeps.worker" in (folder / "cmdline").read_bytes():
                return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    raise AssertionError("there is none")


@pytest.mark.long
def test_ctrl_c_saves(data, tmp_path):
    settings = {"training.steps": 40000, "training.checkpoint_every": 40000}
    path = write_sweep(tmp_path, settings=settings, seeds=1)
    process = start("sweep", str(path), "--ray", "--workers", "1")
    wait_until(lambda: run_state("nets-8-0").step > 0)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.startswith("Stopped; all runs are saved: the same command continues the sweep")
    assert [run_state(f"nets-{x}-0").state for x in ("8", "4_8")] == ["stopped", "new"]
    assert run_state("nets-8-0").step > 0


@pytest.mark.parametrize("address", ["localhost:1", "nonsense", "ray://localhost:1"])
def test_a_cluster_that_cannot_be_joined(data, tmp_path, capsys, address):
    sentence = refused(capsys, "sweep", str(write_sweep(tmp_path)), "--ray", address)
    assert sentence.startswith(f"marl: cannot use Ray at {address}: ")


def test_without_ray(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "marl.sweeps.ray_runner")
    sentence = refused(capsys, "sweep", str(write_sweep(tmp_path)), "--ray")
    assert sentence == "marl: --ray needs Ray: pip install 'marl[ray]'\n"
