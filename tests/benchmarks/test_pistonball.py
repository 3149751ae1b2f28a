"""The comparison with PettingZoo's pistonball runs; tests/worlds/pistonball has what it finds."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("pymunk")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import pistonball


def test_returns_in_both_games(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pistonball.py", "--agents", "3", "--episodes", "2"])
    pistonball.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pettingzoo ")
    assert [line.split()[-4] for line in lines[1:]] == ["RealPistonball", "Pistonball"] * 3
