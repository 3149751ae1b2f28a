"""The small words of the command line: what users type first, and how it answers."""

import codecs
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from shell import refused, run
from tiny import TINY

import marl
from marl.config.parsing import parse_config
from marl.console import Console
from marl.errors import UserError
from marl.evaluation import evaluate
from marl.policies.builtin import BUILTIN
from marl.runs.run import Run, as_name
from marl.studies.tables import print_rows, print_table
from marl.version import VERSION


def test_what_is_typed_first(capsys):
    status, output, _ = run(capsys)
    assert status == 0
    assert "usage: marl" in output
    assert "crossplay" in output
    assert run(capsys, "--version")[:2] == (0, f"marl {VERSION}\n")
    assert "invalid choice: 'trian'" in refused(capsys, "trian")


def test_as_a_module():
    command = [sys.executable, "-m", "marl", "--version"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == f"marl {VERSION}\n"


def test_configs_with_a_bom_and_a_schema(data, tmp_path, capsys):
    text = json.dumps({"$schema": "marl.json", **TINY})
    (tmp_path / "base.json").write_bytes(codecs.BOM_UTF8 + text.encode())
    own = {"$schema": "https://example.org/marl.json", "base": "base", "training": {"seed": 3}}
    (tmp_path / "c.json").write_bytes(codecs.BOM_UTF8 + json.dumps(own).encode())
    assert run(capsys, "train", str(tmp_path / "c.json"))[0] == 0
    assert Run("c").weights.exists()
    sweep = {"$schema": "x", "base": str(tmp_path / "base.json")}
    (tmp_path / "s.json").write_bytes(codecs.BOM_UTF8 + json.dumps(sweep).encode())
    assert run(capsys, "sweep", str(tmp_path / "s.json"), "--workers", "1")[0] == 0
    (tmp_path / "w.json").write_bytes(text.encode("utf-16"))
    assert "its text is not UTF-8" in refused(capsys, "train", str(tmp_path / "w.json"))


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("my first config", "my_first_config"),
        ("a (1)", "a_1"),
        ("-x", "x"),
        ("...", "run"),
        ("greedy", "greedy-run"),
        ("v1.2", "v1.2"),
        ("x" * 300, "x" * 80),
    ],
)
def test_names_of_configs_become_names_of_runs(stem, name):
    assert as_name(stem) == name
    assert Run(name).name == name


def test_a_config_with_spaces_in_its_name(data, tmp_path, capsys):
    path = tmp_path / "my first config.json"
    path.write_text(json.dumps(TINY))
    _, output, _ = run(capsys, "train", str(path))
    assert "marl render my_first_config" in output
    assert run(capsys, "train", str(path), "--seeds", "2")[0] == 0
    assert Run("my_first_config-best").weights.exists()
    path.write_text(json.dumps({"base": "my first config.json"}))
    assert "is its own base" in refused(capsys, "train", str(path))
    assert "cannot be the name of a run" in refused(capsys, "train", "spread", "--name", "a b")


RESULT = {
    "agents": 1000,
    "episodes": 20,
    "seed": 0,
    "coverage": 0.9876,
    "coverage_ci95": [0.98, 1.0],
    "coverage_015": 0.9912,
    "collisions": 0.1234,
    "mean_distance": 0.0567,
    "reward": -12.3456,
    "reward_adversaries": 123.456,
    "reward_good": -99.875,
}
NUMBERS = ("1000", "20", "0.988 ±0.010", "0.991", "0.123", "0.057", "-12.346", "123.5", "-99.875")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_narrow_terminals_cut_no_number(width):
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=True, color_system=None)
    print_table([("a-run-with-a-name", RESULT)], console)
    shown = output.getvalue()
    assert all(number in shown for number in NUMBERS[: 9 if width > 20 else 1])
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    rows = [["a", "0.989 [0.985, 0.993]", "y"]]
    print_rows("4 agents", ["", "coverage", "x"], rows, console=console)
    if width >= 40:
        assert "0.989 [0.985, 0.993]" in output.getvalue()


def test_a_pipe_has_one_table():
    output = io.StringIO()
    names = {f"metric_number_{i}": i + 0.5 for i in range(40)}
    print_table([("a", {"agents": 4, "episodes": 1, "seed": 0, **names})], Console(file=output))
    assert len(output.getvalue().splitlines()) == 2
    assert "39.500" in output.getvalue()


@pytest.mark.parametrize(
    "line",
    [
        "evaluate greedy --seed -1",
        "evaluate greedy --seed 9223372036854775808",
        "evaluate greedy --seed 1.5",
        "train spread --seed 1e30",
        "train spread --set training.seed=-1",
        "train spread --set training.seed=9223372036854775808",
        "train spread --set evaluation.seed=-5",
        "train spread --seed 9223372036854775807 --seeds 2",
        "train spread --seeds 1000000000",
        "scale greedy --seed -7",
        "render greedy --seed 99999999999999999999999",
    ],
)
def test_seeds_out_of_range(data, capsys, line):
    errors = refused(capsys, *line.split())
    assert "seed" in errors
    assert "should be" in errors


@pytest.mark.parametrize("seeds", [[-1], [2**63], 10**9, [0.5], "x"])
def test_seeds_of_sweeps_out_of_range(data, tmp_path, capsys, seeds):
    (tmp_path / "s.json").write_text(json.dumps({"base": "spread", "seeds": seeds}))
    assert "seed" in refused(capsys, "sweep", str(tmp_path / "s.json"))


@pytest.mark.parametrize("seed", [-1, 2**63, np.int64(-1), 1.5, np.float64(2), "0", None, True])
@pytest.mark.parametrize("scenario", ["spread", "tennis", "pursuit"])
def test_seeds_in_python(scenario, seed):
    with pytest.raises(UserError, match=r"seed is .* but should be a whole number from 0 to"):
        marl.make(scenario, seed=seed)
    world = marl.make(scenario)
    with pytest.raises(UserError, match="seed is"):
        world.reseed([seed])


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.uint64])
def test_numpy_numbers_are_numbers(kind):
    world = marl.make("spread", num_agents=kind(5), num_worlds=kind(2), seed=kind(7))
    same = marl.make("spread", num_agents=5, num_worlds=2, seed=7)
    assert np.array_equal(world.reset()["agents"], same.reset()["agents"])
    world.reseed([kind(1), kind(2)])
    same.reseed([1, 2])
    assert np.array_equal(world.reset()["agents"], same.reset()["agents"])
    ratio = marl.make("spread", local_ratio=np.float32(0.5)).scenario.local_ratio
    assert (type(ratio), ratio) == (float, 0.5)
    config = parse_config({"world": {"num_agents": kind(5)}, "training": {"seed": kind(3)}})
    assert (config.world.num_agents, config.training.seed) == (5, 3)
    assert marl.make("tennis", num_worlds=kind(2), seed=kind(3)).num_worlds == 2


def test_numpy_numbers_in_evaluations(data):
    subject = marl.make("spread").scenario
    result = evaluate(BUILTIN["greedy"], subject, np.int64(3), np.int64(2), np.uint32(5))
    assert json.loads(json.dumps(result)) == result
    assert (result["agents"], result["episodes"], result["seed"]) == (3, 2, 5)
    with pytest.raises(UserError, match="num_agents is 0"):
        evaluate(BUILTIN["greedy"], subject, 0, 2, 5)
