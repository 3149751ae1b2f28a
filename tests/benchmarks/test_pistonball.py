"""The comparison with PettingZoo's pistonball runs; tests/worlds/pistonball has what it finds."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("pymunk")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import pistonball


def test_returns_in_both_games(monkeypatch, capsys):
    given = ["pistonball.py", "returns", "--agents", "3", "--episodes", "2"]
    monkeypatch.setattr(sys, "argv", given)
    pistonball.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pettingzoo ")
    assert [line.split()[-4] for line in lines[1:]] == ["RealPistonball", "Pistonball"] * 3


def test_speed_of_both_games(monkeypatch, capsys):
    given = ["pistonball.py", "speed", "--agents", "3", "--seconds", "0.01"]
    monkeypatch.setattr(sys, "argv", given)
    pistonball.main()
    told = capsys.readouterr().out
    assert told.count("steps/s") == 5
    assert told.count("views/s") == 2
