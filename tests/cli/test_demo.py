"""What `marl demo` shows after its training."""

from tiny import TINY

from marl.cli import demo
from marl.config.parsing import parse_config
from marl.runs.run import Run
from marl.training.loop import train


def test_a_run_is_measured_beside_all_who_play_spread_and_filmed(data, monkeypatch, capsys):
    monkeypatch.setattr(demo, "AGENTS", (4, 12))
    monkeypatch.setattr(demo, "MOVIES", {4: "gif"})
    train(parse_config(TINY), "a")
    capsys.readouterr()
    demo.show("a")
    lines = capsys.readouterr().out.splitlines()
    expected = ["a", "random", "greedy", "local-assignment", "auction", "assignment"]
    assert [line.split()[0] for line in lines[1:13:2]] == expected
    assert (Run("a").stats / "a-4.gif").read_bytes().startswith(b"GIF8")
