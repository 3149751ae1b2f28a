"""Every test has a data folder of its own, and one thread for torch: training pins that, too, and
workers side by side would only wait for each other."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


torch.set_num_threads(1)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The empty root of all runs."""
    root = tmp_path / "data"
    monkeypatch.setenv("MARL_DATA", str(root))
    return root
