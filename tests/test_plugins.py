"""What installed packages offer: the package of the guide, as if it had been installed."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

import marl
from marl import agents, plugins
from marl.cli import main
from marl.config.parsing import parse_config
from marl.config.stored import parse_stored_config
from marl.errors import UserError
from marl.runs.checkpoint import read_checkpoint
from marl.runs.run import Run
from marl.training.loop import train
from marl.worlds import registry

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def package(data, monkeypatch):
    """The folder into which it is installed."""
    for name in ("rendezvous", "grid_q"):  # another test may have imported them
        sys.modules.pop(name, None)
    folder = data.parent / "site-packages"
    folder.mkdir()
    for page in ("your-own-scenario.md", "your-own-agent.md"):
        titled = r'^```\w* title="([^"]+)"\n(.*?)^```$'
        for name, text in re.findall(titled, (DOCS / page).read_text(), re.MULTILINE | re.DOTALL):
            (folder / name).write_text(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    offer(folder, project["name"], project["entry-points"])
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(registry, "SCENARIOS", dict(registry.SCENARIOS))
    plugins.offered.cache_clear()
    yield folder
    plugins.offered.cache_clear()
    for name in ("rendezvous", "grid_q"):
        sys.modules.pop(name, None)


def offer(folder, name, groups):
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


def test_a_package_offers_scenarios_and_agents_by_name(package, capsys):
    with pytest.raises(SystemExit):
        main(["list"])
    listed = capsys.readouterr().out.split()
    assert {"rendezvous", "grid_q"} <= {*listed}
    assert "rendezvous" not in sys.modules  # nothing is imported before it is used
    world = marl.make("rendezvous", num_agents=2, num_worlds=3)
    marl.check_world(world)
    assert agents.find_agent("grid_q") is sys.modules["grid_q"].GRID_Q
    config = parse_config({"agent": {"name": "grid_q"}})
    assert config.agent_name == "grid_q"


def test_its_runs_are_looked_at_without_importing_it(package):
    tiny = {"steps": 20, "num_worlds": 2, "learning_starts": 0, "update_every": 10, "batch_size": 4}
    world = {"scenario": "rendezvous", "episode_length": 5}
    train(parse_config({"world": world, "training": {**tiny, "evaluate_every": 0}}), "r")
    del sys.modules["rendezvous"]
    config = read_checkpoint(Run("r").weights).config
    assert config.data["world"]["scenario"] == "rendezvous"
    assert parse_stored_config(config.path, config.data) == config
    assert "rendezvous" not in sys.modules


def test_what_is_wrong_is_said(package):
    offer(package, "broken", {"marl.scenarios": {"gone": "gone:Gone", "path": "pathlib:Path"}})
    offer(package, "more", {"marl.agents": {"gone": "gone:GONE", "path": "pathlib:Path"}})
    plugins.offered.cache_clear()
    with pytest.raises(
        UserError, match=r"scenario 'gone' \(gone:Gone of broken\) cannot be import"
    ):
        parse_config({"world": {"scenario": "gone"}})
    with pytest.raises(UserError, match="scenario 'path' is not a subclass of Scenario"):
        parse_config({"world": {"scenario": "path"}})
    with pytest.raises(UserError, match=r"agent 'gone' \(gone:GONE of more\) cannot be imported"):
        parse_config({"agent": {"name": "gone"}})
    with pytest.raises(UserError, match="agent 'path' is not an AgentKind"):
        parse_config({"agent": {"name": "path"}})
    with pytest.raises(
        UserError, match=r'world\.scenario is "rendezvu", .*did you mean rendezvous'
    ):
        parse_config({"world": {"scenario": "rendezvu"}})
