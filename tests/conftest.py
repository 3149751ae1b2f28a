"""Every test has a data folder of its own, and one thread for torch: training pins that, too, and
workers side by side would only wait for each other. Neither the imports of new processes nor the
drawing of learning curves take time (see `forks.use`)."""

import gc
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import forks

from marl.runs import curves
from marl.studies import comparison, measurements, scale
from marl.studies.statistics import interval
from marl.training import loop

torch.set_num_threads(1)
gc.set_threshold(100_000)  # searches for cycles took a twentieth of the time


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The empty root of all runs."""
    root = tmp_path / "data"
    monkeypatch.setenv("MARL_DATA", str(root))
    return root


@pytest.fixture(scope="session", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        forks.use(patch.setattr)
        yield


@pytest.fixture
def terminal():
    """A terminal's end is heard, also if the tests run behind nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def drawn(monkeypatch):
    """Runs end with a drawing of their curve."""
    monkeypatch.setattr(loop, "plot_run", curves.plot_run)


@pytest.fixture
def here(monkeypatch):
    """Measurements are made in this process: others take seconds to start. Their intervals come
    from few resamples."""
    monkeypatch.setattr(
        measurements, "in_processes", lambda f, tasks, workers, fresh: ((t, f(t)) for t in tasks)
    )
    for module in (comparison, scale):
        monkeypatch.setattr(module, "interval", partial(interval, resamples=50))
