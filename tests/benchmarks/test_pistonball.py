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
    assert capsys.readouterr().out.count("steps/s") == 5


def test_the_real_one_has_a_substep_for_each_piston():
    with pytest.raises(ValueError, match=r"world.substeps must be null: PettingZoo has one for"):
        pistonball.RealPistonball(num_agents=3, substeps=5).make_world(1, 0)
