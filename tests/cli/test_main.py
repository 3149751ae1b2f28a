import json
import os
import pickle
import subprocess
import sys

import pytest
from shell import full_disk, refused, run
from tiny import TINY, write_tiny

from marl.config.parsing import parse_config
from marl.runs.checkpoint import read_checkpoint
from marl.runs.run import Run
from marl.training.loop import train


@pytest.fixture
def trained(data):
    train(parse_config(TINY), "a")
    return Run("a")


def test_train_evaluate_render_list(data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, output, _ = run(
        capsys, "train", str(write_tiny(tmp_path)), "--set", "world.num_agents=3"
    )
    assert status == 0
    assert "marl render tiny" in output
    assert read_checkpoint(Run("tiny").weights).config.resolve().world.num_agents == 3
    status, _, _ = run(capsys, "train", str(write_tiny(tmp_path)), "--seed", "5")
    assert status == 0
    assert read_checkpoint(Run("tiny-2").weights).config.training.seed == 5

    line = "evaluate tiny --agents 4 9 --episodes 6 --seed 3 --json out/e.json"
    status, output, _ = run(capsys, *line.split())
    assert status == 0
    assert "coverage" in output
    results = json.loads((tmp_path / "out" / "e.json").read_text())
    assert [(r["agents"], r["episodes"], r["seed"]) for r in results] == [(4, 6, 3), (9, 6, 3)]

    assert run(capsys, "render", "tiny", "--agents", "5", "--steps", "3")[0] == 0
    assert (tmp_path / "tiny-5.gif").read_bytes().startswith(b"GIF8")
    assert run(capsys, "render", "greedy", "--steps", "2", "--out", "x.png")[0] == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")

    status, output, _ = run(capsys, "list")
    assert status == 0
    for word in (
        "atoc",
        "spread",
        "local-assignment",
        "tiny-2   finished   step 400 of 400   seed 5",
    ):
        assert word in output
    assert run(capsys, "resume", "tiny")[0] == 0


def test_flags_that_are_not_typed_do_not_override(data, tmp_path, capsys):
    path = tmp_path / "c.json"
    training = {**TINY["training"], "seed": 11, "steps": 40}
    path.write_text(
        json.dumps({**TINY, "training": training, "evaluation": {"agents": [3], "seed": 8}})
    )
    assert run(capsys, "train", str(path))[0] == 0
    assert read_checkpoint(Run("c").weights).config.training.seed == 11
    assert run(capsys, *f"evaluate c --episodes 2 --json {tmp_path}/e.json".split())[0] == 0
    (result,) = json.loads((tmp_path / "e.json").read_text())
    assert (result["agents"], result["seed"]) == (3, 8)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("trian x", "choose from"),
        ("train", "required"),
        ("train nothing", "there is no config 'nothing'; known are atoc, atoc_comm"),
        ("train none.json", "there is no file none.json"),
        ("train spread --nam x", "unrecognized arguments: --nam"),
        ("train spread --name ../x", "cannot be the name of a run"),
        ("train spread --seed x", "whole number, 0 or more"),
        ("train spread --seed -1", "whole number, 0 or more"),
        ("train spread --set world.num_agent=3", "did you mean world.num_agents?"),
        ("train spread --set world.num_agents=0", "greater than or equal to 1"),
        ("train spread --set agent.random_views.agent=1", "agent.random_views names 'agent'"),
        ("resume nothing", "there is no run 'nothing' to resume"),
        ("evaluate nothing", "there is no run or policy 'nothing'"),
        ("evaluate none.safetensors", "there is no file none.safetensors"),
        ("evaluate greedy --agents 0", "whole number, 1 or more"),
        ("evaluate greedy --episodes 0", "whole number, 1 or more"),
        ("evaluate greedy --set agent.gamma=1", "'greedy' is no trained agent"),
        ("evaluate greedy --set training.seed=1", "only world.KEY=VALUE and agent.KEY=VALUE can"),
        ("evaluate greedy --set world.reward=no", "world.reward is \"no\""),
        ("evaluate greedy --json .", "cannot write ."),
        ("scale", "required"),
        ("scale greedy nothing", "there is no run or policy 'nothing'"),
        ("scale greedy --agents 4 0", "whole number, 1 or more"),
        ("scale greedy --episodes 0", "whole number, 1 or more"),
        ("scale greedy --json .", "cannot write ."),
        ("scale greedy --set world.num_agents=3", "use --agents"),
        ("scale greedy --set agent.rounds=3", "'greedy' is no trained agent"),
        ("render greedy --out x.xyz", "use one of .gif, .mp4, .png"),
        ("render greedy --agents 0", "whole number, 1 or more"),
        ("render nothing", "there is no run or policy"),
    ],
)  # fmt: skip
def test_bad_input(data, tmp_path, capsys, monkeypatch, line, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(capsys, *line.split())
    assert not list(data.glob("*/*/*.safetensors"))


@pytest.mark.parametrize("command", ["evaluate", "render"])
def test_bad_checkpoints(trained, tmp_path, capsys, command):
    whole = trained.weights.read_bytes()
    for content, sentence in (
        (whole[:-9], "is cut short"),
        (pickle.dumps([1]), "is a pickle"),
        (b"", "is cut short"),
    ):
        path = tmp_path / "x.safetensors"
        path.write_bytes(content)
        error = refused(capsys, command, str(path))
        assert sentence in error
        assert str(path) in error
        assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"x" * 100])
def test_a_bad_state_is_not_resumed_and_nothing_is_touched(trained, capsys, content):
    trained.state.write_bytes(content)
    before = {p: p.read_bytes() for p in trained.models.parent.parent.rglob("*") if p.is_file()}
    assert str(trained.state) in refused(capsys, "resume", "a")
    after = {p: p.read_bytes() for p in trained.models.parent.parent.rglob("*") if p.is_file()}
    assert after == before


def test_a_run_is_not_overwritten(trained, tmp_path, capsys):
    before = trained.weights.read_bytes()
    error = refused(capsys, "train", str(write_tiny(tmp_path)), "--name", "a")
    assert "marl resume a" in error
    assert trained.weights.read_bytes() == before


def test_folders_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MARL_DATA", str(tmp_path / "file"))
    assert "cannot write" in refused(capsys, "train", str(write_tiny(tmp_path)))
    out = str(tmp_path / "file" / "x.gif")
    assert "cannot write" in refused(capsys, "render", "greedy", "--steps", "1", "--out", out)
    assert "cannot write" in refused(capsys, "scale", "greedy", "--out", str(tmp_path / "file"))
    out = str(tmp_path / "file" / "x.json")
    assert "cannot write" in refused(capsys, "evaluate", "greedy", "--json", out)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_folders_without_permission(tmp_path, capsys, monkeypatch):
    (tmp_path / "locked").mkdir(mode=0o500)
    monkeypatch.setenv("MARL_DATA", str(tmp_path / "locked"))
    assert "Permission denied" in refused(capsys, "train", str(write_tiny(tmp_path)))


def test_help_answers_at_once():
    code = (
        "import sys; from marl.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in ('torch', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


SMALL = ["agent.hidden=[2]", "training.replay_size=8", "training.log_every=4"]


@pytest.mark.parametrize(
    ("limit", "settings", "file", "step"),
    [
        (20_000, [], "state.safetensors", None),  # not even the first checkpoint
        (100_000, [], "state.safetensors", 80),  # the state grows with its replay
        (40_000, SMALL, "log.jsonl", 80),
    ],
)
def test_a_full_disk_in_a_real_process(data, tmp_path, capsys, limit, settings, file, step):
    """The last good checkpoint stays, and from there the run ends as if nothing had been."""
    options = ["train", str(write_tiny(tmp_path)), "--set", "training.seed=1", *settings]
    run(capsys, *options, "--name", "whole")  # and compiled kernels, which are larger
    done = full_disk(limit, *options, "--name", "a")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert f"{file}: File too large" in done.stderr
    assert not list(data.glob("*/a/.*.partial"))
    weights, state = Run("a").weights, Run("a").state
    if step is None:
        assert not weights.exists()
        assert not state.exists()
    else:
        assert read_checkpoint(weights).step == read_checkpoint(state, "state").step >= step
    assert run(capsys, "resume", "a")[0] == 0
    assert weights.read_bytes() == Run("whole").weights.read_bytes()
