"""Files of strangers in the current folder are not executed by the processes that marl starts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nets import write_sweep
from tiny import write_tiny

from marl import plugins, processes
from marl.runs.run import run_state
from marl.sweeps import runner
from marl.sweeps.sweep import load_sweep
from marl.worlds.pettingzoo.world import PettingZooWorld

NAMES = ("random", "tempfile", "numpy", "torch", "gymnasium", "numba", "pydantic", "runpy", "rich")


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """The current folder has modules of these names; the file lists those that were executed."""
    folder, executed = tmp_path / "trap", tmp_path / "executed"
    folder.mkdir()
    executed.touch()
    for name in NAMES:
        code = f"print({name!r}, file=open({str(executed)!r}, 'a'))\nraise ImportError\n"
        (folder / f"{name}.py").write_text(code)
    monkeypatch.chdir(folder)
    return executed


def test_modules_in_processes_of_their_own(trap):
    done = subprocess.run(processes.python("marl.version"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert trap.read_text() == ""


def test_measurements_side_by_side(trap):
    code = (
        "from marl.studies.processes import in_processes\n"
        "print(sorted(r for f in (0, 1) for _, r in in_processes(abs, [-1, -2], 2, fresh=f)))\n"
    )
    path = os.pathsep.join([str(Path(processes.__file__).parents[1]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "[1, 1, 2, 2]\n", done.stderr
    assert trap.read_text() == ""


ENVIRONMENT = """
import numpy as np
from gymnasium.spaces import Box


class Quiet:
    possible_agents, render_mode, metadata = ["a"], None, {"name": "quiet"}

    def observation_space(self, agent):
        return Box(-1, 1, (1,))

    action_space = observation_space

    def reset(self, seed=None, options=None):
        self.agents = ["a"]
        return {"a": np.zeros(1)}, {"a": {}}

    def step(self, actions):
        self.agents = []
        return {"a": np.zeros(1)}, {"a": 0.0}, {"a": False}, {"a": True}, {"a": {}}

    def close(self):
        pass
"""


def test_environments_in_processes(trap, monkeypatch):
    monkeypatch.syspath_prepend(trap.parent)
    (trap.parent / "quiet_environment.py").write_text(ENVIRONMENT)
    world = PettingZooWorld("quiet_environment:Quiet", 2, 0, processes=1)
    (rows,) = world.reset().values()
    assert np.all(rows == 0)
    world.close()
    assert trap.read_text() == ""
    assert processes.SAFE_PATH not in os.environ


@pytest.mark.long
def test_a_sweep_with_a_scenario_of_ones_own(trap, data, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "subprocess", subprocess)
    (Path.cwd() / "own_scenario.py").write_text(
        "from marl.worlds.particles.scenarios.spread import Spread\n\n\nclass Own(Spread):\n"
        "    pass\n"
    )
    settings = {"world.scenario": "own_scenario:Own", "world.episode_length": 5}
    path = write_sweep(tmp_path, base=str(write_tiny(tmp_path)), settings=settings, seeds=1)
    sweep = load_sweep(path)
    list(runner.run_sweep(sweep, 1))
    assert sweep.failures == {}
    assert run_state(sweep.jobs[0].name).state == "finished"
    assert trap.read_text() == ""


def test_the_current_folder_comes_first_for_its_own_modules_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [x for x in sys.path if x != str(tmp_path)])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (tmp_path / "colorsys.py").write_text("OWN = 1")
    (tmp_path / "this_is_mine.py").write_text("from colorsys import OWN")
    assert plugins.imported("this_is_mine:OWN") == 1
    monkeypatch.delitem(sys.modules, "colorsys")
    import colorsys

    assert not hasattr(colorsys, "OWN")
    assert sys.path[-1] == str(tmp_path)
