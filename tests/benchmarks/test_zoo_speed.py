"""The speed of our copies of PettingZoo's worlds is measured beside that of the originals."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("pymunk")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import zoo_speed


@pytest.mark.parametrize(
    ("what", "players"),
    [
        ("pistonball", ["PettingZoo", "undrawn", "1 world", "64 worlds"]),
        ("pursuit", ["PettingZoo", "1 world", "64 worlds"]),
        ("pictures", ["PettingZoo", "16 worlds"]),
        ("prison", ["PettingZoo", "1 world", "64 worlds"]),
        ("cooperative_pong", ["PettingZoo", "16 worlds"]),
    ],
)
def test_everybody_is_measured(what, players, monkeypatch, capsys):
    monkeypatch.setattr(zoo_speed, "BATCHES", (1, 64))
    monkeypatch.setattr(zoo_speed, "removed", lambda game, agents, seconds: 100.0)
    monkeypatch.setattr(zoo_speed, "interpreter", lambda game: Path(__file__))
    given = ["zoo_speed.py", what, "--agents", "4", "--seconds", "0.01"]
    monkeypatch.setattr(sys, "argv", given)
    zoo_speed.main()
    versions, _, title, head, _, line = capsys.readouterr().out.splitlines()
    assert versions.startswith("pettingzoo ")
    assert title == what
    assert [cell.strip() for cell in head.strip("| ").split("|")] == [
        "agents", *players, "best ratio",
    ]  # fmt: skip
    agents, *speeds = [float(cell) for cell in line.strip("| ").split("|")]
    assert agents == 4
    assert min(speeds) > 0


def test_a_removed_game_that_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setattr(zoo_speed, "interpreter", lambda game: Path("nowhere"))
    monkeypatch.setattr(sys, "argv", ["zoo_speed.py", "prison"])
    with pytest.raises(SystemExit):
        zoo_speed.main()
    assert "prison needs `make bench-removed`" in capsys.readouterr().err


@pytest.mark.parametrize(("game", "agents"), [("waterworld", 5), ("prison", 8)])
def test_removed_games_are_stepped_where_they_are(game, agents):
    if not zoo_speed.interpreter(game).exists():
        pytest.skip("needs `make bench-removed`")
    assert zoo_speed.removed(game, agents, 0.1) > 10
