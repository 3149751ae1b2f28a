"""What the README shows runs as printed."""

import re
import sys
from pathlib import Path

import marl
from marl.evaluation import evaluate, headline
from marl.policies import BUILTIN

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_python_example(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    assert float(capsys.readouterr().out) > 0.5  # the shipped policy covers most landmarks


def test_the_scenario_is_complete(tmp_path, monkeypatch):
    """Saved as told, it can be found by name, passes the check, and its metric is right."""
    (tmp_path / "rendezvous.py").write_text(BLOCKS[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    world = marl.make("rendezvous:Rendezvous", num_agents=5, num_worlds=3)
    marl.check_world(world)
    result = evaluate(BUILTIN["still"], {"scenario": "rendezvous:Rendezvous"}, 5, 4, 0)
    assert headline(result) == "arrived"
    assert 0 <= result["arrived"] < 0.5
