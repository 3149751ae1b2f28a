"""The simulator's benchmark measures every scenario, alone or beside others."""

import json
import sys
from pathlib import Path

import forks
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))
import simulator  # noqa: E402

SLOWER = 100


class Slow:
    """A peer that says it took so much longer than ours, and fails in one scenario."""

    name = "mpe2"

    def __init__(self):
        self.asked = []

    def seconds_per_step(self, seconds, **case):
        if case["scenario"] == "tag":
            raise RuntimeError("no tag")
        self.asked.append(case)
        return 1e-3 * SLOWER


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(simulator, "seconds_per_step", lambda run, *_: run(1) or 1e-3)
    monkeypatch.setattr(simulator, "BATCHES", {"marl": ((1, 4),) * 3, "mpe2": ((1,),) * 3})


@pytest.mark.parametrize("name", simulator.SCENARIOS)
def test_each_scenario(quick, name, capsys):
    peer = Slow()
    cases = simulator.compare(name, simulator.as_it_comes(name), [peer], 0.01)
    targets = simulator.scenario_targets(cases)
    if name == "tag":
        assert "mpe2 is left out in tag (no tag)" in capsys.readouterr().out
        assert {case.library for case in cases} == {"marl"}
        assert not targets
        return
    assert peer.asked == [{"scenario": name, "worlds": 1}] * simulator.ROUNDS
    assert [target.value for target in targets] == pytest.approx([SLOWER, 4 * SLOWER])
    assert all(str(target).lstrip().startswith("ok") for target in targets)


def test_a_run_of_the_script(tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, FOLDER / "simulator.py", "--agents", "--large"]
    command += ["--scenarios", "simple", "--seconds", "0.01", "--peers", sys.executable]
    done = forks.run([*command, "--json", report])
    assert done.returncode == 0, done.stderr
    cases = json.loads(report.read_text())["cases"]
    assert {"marl", "mpe2"} == {case["library"] for case in cases}  # the tests install MPE2
    assert {case["scenario"] for case in cases} == {"simple"}
    assert "simple, one world, times as fast as mpe2" in done.stdout
