"""What the README and the guide show runs as printed, and the guide builds without a warning.

In every page, the fenced blocks are run in their order in one folder: `python` in one namespace,
`bash` line by line, `console` line by line with exactly the output that is shown; `json` must be
valid, as a config or a sweep if it is one; a block with a title is saved under that name instead;
`text` is only shown. A block below <!-- not run: REASON --> is not run. Commands get settings on
top that make them small.
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import marl
import marl.particles
from marl.cli.main import main, make_parser
from marl.config.checking import setting_names
from marl.config.model import SECTIONS
from marl.config.parsing import BASE, load_config
from marl.evaluation import one_thread
from marl.sweeps.sweep import load_sweep
from marl.worlds.registry import SCENARIOS

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
}
NOT_RUN = {"make demo", "source .venv/bin/activate", "python3 -m venv .venv"}  # how they begin
NOT_RUN |= {"python benchmarks/seeds.py --configs spread atoc_tuned --seeds 1 5 10 \\"}
NOT_RUN |= {"marl sweep benchmarks/precision.json", "import stable_baselines3, supersuit"}
NOT_RUN |= {"pip install --editable .", "marl train mpe2_spread.json --set training.num_worlds=8"}
NOT_RUN |= {"marl crossplay hunters-maddpg hunters-ddpg --episodes 500 --json matrix.json"}
NOT_RUN |= {"python experiments/run_tennis.py -m SADDPG -t 2000"}
NOT_RUN |= {"marl render tennis_saddpg --window --play player_0"}
NOT_RUN |= {"python benchmarks/tennis.py learning --plot docs/tennis.png"}
NOT_RUN |= {"python benchmarks/fresh.py spread --ship"}
NOT_RUN |= {"python benchmarks/tennis.py cures", "make bench-peers"}
COMMANDS = make_parser()._subparsers._group_actions[0].choices

TINY = {
    "training.steps": 400,
    "training.learning_starts": 100,
    "training.batch_size": 32,
    "training.evaluate_every": 200,
    "evaluation.episodes": 2,
    "world.episode_length": 10,
}
SMALL = {
    "train": ["--set", *(f"{key}={value}" for key, value in TINY.items())],
    "sweep": ["--workers", "1"],
    "resume": ["--set", "training.steps=500"],
    "evaluate": ["--episodes", "2", "--set", "world.episode_length=10"],
    "render": ["--steps", "2"],
}


class Block(NamedTuple):
    why_not: str | None
    language: str
    title: str | None
    text: str


def blocks(page: str) -> list[Block]:
    pattern = r'(?:^<!-- not run: ([^\n]+) -->\n)?^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$'
    found = re.findall(pattern, PAGES[page], re.MULTILINE | re.DOTALL)
    return [
        Block(why or None, language, title or None, text) for why, language, title, text in found
    ]


@pytest.fixture
def folder(data, monkeypatch):
    """An empty current folder, from which modules can be imported; torch on one thread, since
    other tests run beside."""
    monkeypatch.chdir(data.parent)
    monkeypatch.syspath_prepend(data.parent)
    scenarios = dict(SCENARIOS)
    with one_thread():
        yield data.parent
    SCENARIOS.clear()
    SCENARIOS.update(scenarios)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_blocks_run_as_printed(page, folder, capfd):
    namespace: dict = {}
    for block in blocks(page):
        if block.why_not is not None:
            continue
        if block.title:
            Path(block.title).write_text(block.text)
        if block.language == "json":
            check_json(block)
        elif block.language == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                assert command(line) == 0, line
        elif block.language == "console":
            capfd.readouterr()
            for line in block.text.splitlines():
                if line.startswith("$ "):
                    command(line.removeprefix("$ "))
            shown = [line for line in block.text.splitlines() if not line.startswith("$ ")]
            assert "".join(capfd.readouterr()).splitlines() == shown
        elif block.language == "python" and not block.title:
            exec(compile(block.text, page, "exec"), namespace)
        else:
            assert block.title or block.language == "text", f"in which language is {block}?"


def command(line: str) -> int:
    """The exit status of a line; `marl` runs in this process, which has imported everything."""
    words = shlex.split(line, comments=True)
    if words[:1] != ["marl"]:
        return subprocess.run(["bash", "-c", line]).returncode
    if words[1] == "sweep":
        path = Path(words[2])
        sweep = json.loads(path.read_text())
        path.write_text(json.dumps({**sweep, "settings": {**sweep.get("settings", {}), **TINY}}))
    with pytest.raises(SystemExit) as stop:
        main([*words[1:], *SMALL.get(words[1], [])])
    return stop.value.code


def check_json(block: Block) -> None:
    data = json.loads(block.text)
    if data.keys() <= {BASE, *SECTIONS}:
        path = Path("shown.json")
        path.write_text(block.text)
        load_config(path)
        path.unlink()
    elif "base" in data:
        assert block.title, "a sweep needs a title, its file's name"
        assert load_sweep(Path(block.title)).jobs


def test_what_is_not_run():
    skipped = [block for page in PAGES for block in blocks(page) if block.why_not]
    assert {block.text.splitlines()[0].split("  ")[0] for block in skipped} == NOT_RUN


def test_commands_in_the_text_exist():
    """Their names and flags; what stands in capitals is the reader's to fill in."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page, text in PAGES.items():
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`([^`]+)`", prose):
            words = code.split()
            assert {*re.findall(r"\bmake ([\w-]+)", code)} <= {*targets}, (page, code)
            if words[0] == "marl" and words[1:] and words[1] != "COMMAND":
                known = COMMANDS[words[1]].format_help().split()
                flags = [word for word in words if word.startswith("--")]
                assert {*flags} <= {word.strip("[],") for word in known}, (page, code)


@pytest.mark.long
def test_the_agent_learns(folder, capsys):
    """More in a few seconds than one that has learnt nothing would ever find."""
    for block in blocks("docs/your-own-agent.md"):
        if block.title:
            Path(block.title).write_text(block.text)
    settings = ["training.steps=16000", "training.evaluate_every=16000", "training.log_every=0"]
    with pytest.raises(SystemExit):
        main(["train", "grid_q.json", "--set", *settings])
    lines = (folder / "data" / "stats" / "grid_q" / "log.jsonl").read_text().splitlines()
    (coverage,) = [x["evaluation"]["coverage"] for x in map(json.loads, lines) if "evaluation" in x]
    assert coverage > 0.15  # still ones and those that move at random: below .02


def test_the_guide(tmp_path):
    """It builds as `make docs` builds it, fetches nothing, and describes every setting."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    files = tmp_path.rglob("*.html")
    pages = {str(path.relative_to(tmp_path)): path.read_text("utf-8") for path in files}
    assert len(pages) > len(PAGES)
    fetched = r"""(?:src|srcset)="?(?:https?:)?//|<link[^>]+href="?(?:https?:)?//"""
    for name, page in pages.items():
        assert not re.search(fetched, page), name
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"""(?:url\(|@import )['"]?(?:https?:)?//""", sheet.read_text("utf-8"))

    assert "<td></td>" not in pages["configs.html"], "a setting has no description"
    for setting in setting_names():
        key = setting.rpartition(".")[2]
        assert f"<td><code>{key}</code></td>" in pages["configs.html"] or key in (
            "scenario",
            "name",
        )
    reference = "".join(page for name, page in pages.items() if name.startswith("reference"))
    for door in (marl, marl.particles):
        for name in {*door.__all__} - {"__version__"}:
            assert f'id="{door.__name__}.{name}"' in reference, f"{name} is not in the reference"
    for command in COMMANDS:
        assert f"usage: marl {command} " in pages["commands.html"]
