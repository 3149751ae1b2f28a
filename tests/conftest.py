"""Every test has a data folder of its own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The empty root of all runs."""
    root = tmp_path / "data"
    monkeypatch.setenv("MARL_DATA", str(root))
    return root
