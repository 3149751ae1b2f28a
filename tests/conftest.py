"""Every test has a data folder of its own, and one thread for torch: training pins that, too, and
workers side by side would only wait for each other. Processes that sweeps and studies start are
forks of one that has imported everything, and runs end without a drawing of their curve: importing
and drawing would take most of the time of all tests. `drawn` gives back the latter."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import forks

from marl.runs import curves
from marl.runs.run import Run
from marl.training import loop

torch.set_num_threads(1)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The empty root of all runs."""
    root = tmp_path / "data"
    monkeypatch.setenv("MARL_DATA", str(root))
    return root


@pytest.fixture(scope="session", autouse=True)
def _quick():
    def plot_run(name, solved_at=None):
        (Run(name).stats / "curve.png").touch()

    with pytest.MonkeyPatch.context() as patch:
        forks.use(patch.setattr)
        patch.setattr(loop, "plot_run", plot_run)
        yield


@pytest.fixture
def drawn(monkeypatch):
    """Runs end with a drawing of their curve."""
    monkeypatch.setattr(loop, "plot_run", curves.plot_run)
