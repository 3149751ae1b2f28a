import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY, write_tiny

from marl.config.parsing import find_config, load_config, parse_config
from marl.errors import run_command
from marl.runs.checkpoint import read_checkpoint
from marl.runs.run import Run
from marl.sweeps.sweep import load_sweep
from marl.training.loop import train

FOLDER = Path(__file__).parent.parent / "experiments"
sys.path.insert(0, str(FOLDER))
import run_multiagent  # noqa: E402
import run_tennis  # noqa: E402


def run(monkeypatch, capsys, *arguments: str, script=run_multiagent) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["script.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_command(script.main)
    output, errors = capsys.readouterr()
    return stop.value.code, output, errors


def test_trains_with_the_typed_flags_only(data, tmp_path, monkeypatch, capsys):
    config = ["--config", str(write_tiny(tmp_path))]
    flags = [
        *("--type", "ATOC", "--name", "a", "--seed", "4", "--num-agents", "3", "--num-steps", "80"),
        *("--num_perceived_agents", "5", "--num-perceived-landmarks", "6", "--epsilon", "0.5"),
    ]
    assert run(monkeypatch, capsys, *config, *flags)[0] == 0
    stored = read_checkpoint(Run("a").weights).config.resolve()
    assert stored.world.num_agents == 3
    assert stored.world.num_landmarks is None
    assert (stored.world.num_perceived_agents, stored.world.num_perceived_landmarks) == (5, 6)
    assert (stored.training.seed, stored.training.steps) == (4, 80)
    assert (stored.exploration.scale, stored.exploration.final_scale) == (0.5, 0.5)
    assert stored.training.batch_size == TINY["training"]["batch_size"]

    assert run(monkeypatch, capsys, *config, "--name", "b", "--num-steps", "40")[0] == 0
    plain = read_checkpoint(Run("b").weights).config.resolve()
    assert plain.exploration == parse_config(TINY).exploration
    assert plain.world == parse_config(TINY).world


def test_deserialize_measures_and_films(data, tmp_path, monkeypatch, capsys):
    train(parse_config(TINY), "a")
    before = Run("a").weights.read_bytes()
    gif = tmp_path / "a.gif"
    flags = ["--deserialize", str(Run("a").weights), "--num-agents", "5", "--num-steps", "3"]
    status, _, errors = run(monkeypatch, capsys, *flags, "--benchmark", "--gif", str(gif))
    assert status == 0, errors
    (result,) = json.loads((Run("a").stats / "evaluation.json").read_text())
    assert result["agents"] == 5
    assert gif.read_bytes().startswith(b"GIF8")
    assert Run("a").weights.read_bytes() == before


def test_epsilon_of_minus_one_leaves_the_schedule_alone(data, tmp_path, monkeypatch, capsys):
    config = ["--config", str(write_tiny(tmp_path)), "--name", "a", "--num-steps", "40"]
    status, _, errors = run(monkeypatch, capsys, *config, "--epsilon", "-1")
    assert status == 0, errors
    stored = read_checkpoint(Run("a").weights).config.resolve()
    assert stored.exploration == parse_config(TINY).exploration
    flags = ["--deserialize", str(Run("a").weights), "--epsilon", "-1.0", "--num-agents", "4"]
    assert run(monkeypatch, capsys, *flags)[0] == 0


def test_deserialize_alone_measures(data, monkeypatch, capsys):
    train(parse_config(TINY), "a")
    flags = ["--deserialize", str(Run("a").weights), "--num-agents", "5", "--seed", "3"]
    status, output, errors = run(monkeypatch, capsys, *flags)
    assert status == 0, errors
    assert "coverage" in output
    assert "a " in output
    assert not (Run("a").stats / "evaluation.json").exists()


def test_deserialize_with_steps_trains_further(data, tmp_path, monkeypatch, capsys):
    train(parse_config(TINY), "a")
    flags = ["--deserialize", str(Run("a").weights), "--num-steps", "80"]
    status, _, errors = run(monkeypatch, capsys, *flags)
    assert status == 0, errors
    assert read_checkpoint(Run("a").weights).step == 480
    status, _, errors = run(monkeypatch, capsys, *flags, "--benchmark", "--num-agents", "3")
    assert status == 0, errors
    assert read_checkpoint(Run("a").weights).step == 560
    (result,) = json.loads((Run("a").stats / "evaluation.json").read_text())
    assert result["agents"] == 3


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--type PPO", "invalid choice"),
        ("--num-agents 0", "whole number, 1 or more"),
        ("--epsilon x", "invalid float"),
        ("--epsilon nan", "exploration.scale is"),
        ("--epsilon=-2", "exploration.scale is -2"),
        ("--sleep 1", "--sleep has no effect without --render or --gif"),
        ("--deserialize x --num-steps 9 --sleep 1", "--sleep has no effect without"),
        ("--deserialize x --type ATOC", "--type has no effect beside --deserialize"),
        ("--deserialize x --config spread", "--config has no effect beside"),
        ("--deserialize x --num-landmarks 3", "--num-landmarks has no effect beside"),
        ("--deserialize x --exploration ou", "--exploration has no effect beside"),
        ("--deserialize x --epsilon 0.1", "--epsilon has no effect beside"),
        ("--deserialize x --name a", "--name has no effect beside"),
        ("--deserialize x --num-steps 9 --seed 1", "--seed has no effect beside"),
        ("--deserialize x --num-steps 9 --num_perceived_agents 1", "--num_perceived_agents has no"),
        ("--deserialize x/y.safetensors --num-steps 9", "add --render or --gif"),
        ("--deserialize none.safetensors", "there is no file"),
        ("--deserialize none.safetensors --benchmark", "there is no file"),
        ("--num-agent 4", "unrecognized arguments"),
    ],
)
def test_bad_input(data, monkeypatch, capsys, flags, sentence):
    status, _, errors = run(monkeypatch, capsys, *flags.split())
    assert status == 2
    assert errors.count("\n") == 1
    assert sentence in errors


@pytest.mark.parametrize("kind", run_multiagent.TYPES)
def test_every_type_has_a_config_and_trains(data, tmp_path, monkeypatch, capsys, kind):
    named = load_config(find_config(kind.lower()))
    config = tmp_path / "plain.json"
    config.write_text(json.dumps({**TINY, "agent": {}}))
    flags = ["--type", kind, "--config", str(config), "--name", "a"]
    status, _, errors = run(monkeypatch, capsys, *flags, "--num-steps", "40")
    assert status == 0, errors
    stored = read_checkpoint(Run("a").weights).config.resolve()
    assert stored.agent_name == named.agent_name
    assert (stored.exploration.kind == "psne") == (named.exploration.kind == "psne")


def test_the_kind_of_exploration_can_be_typed(data, tmp_path, monkeypatch, capsys):
    flags = ["--config", str(write_tiny(tmp_path)), "--name", "a", "--num-steps", "40"]
    assert run(monkeypatch, capsys, *flags, "--exploration", "psne")[0] == 0
    assert read_checkpoint(Run("a").weights).config.resolve().exploration.kind == "psne"


def swept(script, file, tmp_path):
    """The sweep of a script, which is called with a `python` on the path that only notes how."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PWD" "$@"\n')
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [FOLDER / script, "--workers", "9"],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert done.stdout == f"{FOLDER.parent} -m marl.cli sweep {file} --workers 9\n"
    sweep = load_sweep(FOLDER.parent / file)
    assert [job.seed for job in sweep.jobs] == [0, 1, 2, 3, 4]
    return sweep


@pytest.mark.parametrize("agents", [4, 12])
@pytest.mark.parametrize("kind", ["atoc", "ddpg", "global", "maddpg", "saddpg"])
def test_batch_scripts_are_sweeps_of_five_seeds(data, tmp_path, kind, agents):
    name = f"{kind}_{agents}"
    for job in swept(f"batch_run_{name}.sh", f"experiments/{name}.json", tmp_path).jobs:
        assert job.config.agent_name == kind
        assert job.config.world.num_agents == agents
        assert job.config.training.steps == {4: 2_000_000, 12: 350_000}[agents]


@pytest.mark.parametrize("kind", ["iql", "vdn", "qmix", "isac", "masac", "ippo", "mappo"])
def test_other_learners_have_batch_scripts(data, tmp_path, kind):
    for job in swept(f"batch_run_{kind}.sh", f"experiments/{kind}.json", tmp_path).jobs:
        assert job.config.agent_name == kind
        assert (job.config.scenario, job.config.world.num_agents) == ("spread", 3)


TENNIS = {
    "world": {"scenario": "tennis"},
    "agent": {"name": "saddpg", "hidden": [8]},
    "training": {**TINY["training"], "steps": 200},
}


tennis = partial(run, script=run_tennis)


def test_tennis_says_how_rallies_ended(data, tmp_path, monkeypatch, capsys):
    train(parse_config(TENNIS), "tennis_saddpg")
    capsys.readouterr()
    status, output, _ = tennis(monkeypatch, capsys, "-t", "50")
    assert status == 0
    *episodes, average = output.splitlines()
    assert len(episodes) == 3  # nobody gets the ball over: 14 or 15 steps each
    scores = [float(line.rpartition(" ")[2]) for line in episodes]
    assert average == f"average of 3 episodes: {np.mean(scores):.3f}"
    for name in ("a.gif", "a.mp4"):
        status, filmed, _ = tennis(monkeypatch, capsys, "-t", "50", "--gif", str(tmp_path / name))
        assert (status, filmed) == (0, f"{chr(10).join(episodes)}\n{tmp_path / name}\n{average}\n")
        assert (tmp_path / name).stat().st_size > 1000
    assert tennis(monkeypatch, capsys, "-t", "9") == (
        0, "no episode has ended; more steps (-t) would let one\n", ""
    )  # fmt: skip


def test_tennis_trains(data, tmp_path, monkeypatch, capsys):
    """A new run, which plays then; what was there stays."""
    for name in run_tennis.MODELS:
        config = f"tennis_{name.lower()}"
        monkeypatch.chdir(tmp_path)
        json_ = json.dumps({**TENNIS, "agent": {"name": name.split("_")[0].lower(), "hidden": [8]}})
        monkeypatch.setattr(
            "marl.config.parsing.find_config", lambda _, path=tmp_path / f"{config}.json": path
        )
        (tmp_path / f"{config}.json").write_text(json_)
        for number in ("", "-2"):
            status, output, errors = tennis(monkeypatch, capsys, "-m", name, "--train", "-t", "20")
            assert status == 0, errors
            assert f"Done: see it with `marl render {config}{number}`" in output
            assert "average of 1 episodes" in output


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("-m PPO", "invalid choice: 'PPO'"),
        ("-t 0", "whole number, 1 or more"),
        ("--gif a.gif --render", "not allowed with"),
        ("--gif file/a.gif", "cannot write file/a.gif"),
        ("--gif a.bmp", "a.bmp"),
        ("--render", "window"),
    ],
)
def test_tennis_bad_input(data, tmp_path, monkeypatch, capsys, flags, sentence):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    train(parse_config(TENNIS), "tennis_saddpg")
    capsys.readouterr()
    monkeypatch.delenv("DISPLAY", raising=False)
    status, _, errors = tennis(monkeypatch, capsys, *flags.split())
    assert status == 2
    assert errors.count("\n") == 1
    assert sentence in errors
