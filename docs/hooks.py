"""References of the guide that are made from the program, and files of the repository to which
pages link. Nothing of it is stored, so nothing can go stale.

    <!-- settings: SECTION -->    a table of every setting of that section of a config
    <!-- commands -->             the help of every command
    [rollout.py](../marl/rollout.py)    a link out of docs/: the file becomes a page of the guide
"""

import inspect
import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from pydantic import BaseModel

from marl.agents import REGISTRY
from marl.cli.main import make_parser
from marl.config.model import EvaluationConfig, TrainingConfig
from marl.learning.exploration import ExplorationConfig
from marl.sweeps.sweep import SweepFile
from marl.worlds.registry import SCENARIOS

ROOT = Path(__file__).parents[1]
OUTSIDE = "repository/"  # where pages made of files outside docs/ lie in the guide
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository to which pages link, and those to which these link."""

    def new(path: str) -> bool:
        return _page_of(path) not in files.src_uris

    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    waiting.append("CHANGELOG.md")
    while waiting:
        path = waiting.pop()
        if new(path):
            content, level = _as_page(path), InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, _page_of(path), content=content, inclusion=level))
        if path.endswith(".md"):
            text = (ROOT / path).read_text("utf-8")
            linked = [_joined(path, target) for _, target, _ in LINK.findall(text)]
            waiting += [x for x in linked if (ROOT / x).is_file() and new(x)]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the references, and let links point to where things lie in the guide."""
    own = page.file.src_uri
    path = own.removeprefix(OUTSIDE) if own.startswith(OUTSIDE) else f"docs/{own}"
    if not (ROOT / path).is_file():
        return markdown  # the page of a file that is not Markdown itself

    def moved(link: re.Match) -> str:
        before, target, after = link.groups()
        where = _page_of(_joined(path, target))
        if where not in files.src_uris:
            return link[0]  # mkdocs will say that there is no such page
        return before + posixpath.relpath(where, posixpath.dirname(own)) + after

    markdown = LINK.sub(moved, markdown)
    markdown = re.sub(r"<!-- settings: (\w+) -->", lambda match: _settings(match[1]), markdown)
    return re.sub("<!-- commands -->", lambda _: _commands(), markdown)


def _joined(path: str, target: str) -> str:
    """A path in the repository, of what a file there links to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _page_of(path: str) -> str:
    """Where a file of the repository lies in the guide."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return OUTSIDE + path + ("" if path.endswith(".md") else ".md")


def _as_page(path: str) -> str:
    text = (ROOT / path).read_text("utf-8")
    if path.endswith(".md"):
        return text
    hidden = "---\nsearch: {exclude: true}\n---\n"
    return f"{hidden}# `{path}`\n\n``````{Path(path).suffix[1:]}\n{text}``````\n"


# --------------------------------------------------------------------------------------- reference


def _settings(section: str) -> str:
    """The tables of a section of a config, or of a sweep: one for each kind of world or agent."""
    if section == "world":
        return "\n".join(_scenario(name, model) for name, model in SCENARIOS.items())
    if section == "agent":
        names: dict[type[BaseModel], list[str]] = {}
        for name, kind in REGISTRY.items():
            names.setdefault(kind.config, []).append(f"`{name}`")
        return "\n".join(f"### {', '.join(own)}\n\n{_table(m)}" for m, own in names.items())
    models: dict[str, type[BaseModel]] = {
        "exploration": ExplorationConfig,
        "training": TrainingConfig,
        "evaluation": EvaluationConfig,
        "sweep": SweepFile,
    }
    return _table(models[section])


def _scenario(name: str, model: type[BaseModel]) -> str:
    return f"### `{name}`\n\n```text\n{inspect.getdoc(model)}\n```\n\n{_table(model)}"


def _table(model: type[BaseModel]) -> str:
    """A row for each field; which kind of thing a section is about is no setting of its kind."""
    rows = ["| setting | what it may be | default | |", "|---|---|---|---|"]
    for name, schema in model.model_json_schema()["properties"].items():
        if name != "name":
            default = f"`{json.dumps(schema['default'])}`" if "default" in schema else "needed"
            text = schema.get("description", "")
            rows.append(f"| `{name}` | {_allowed(schema)} | {default} | {text} |")
    return "\n".join([*rows, ""])


WORDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "`true`, `false`",
    "string": "text",
    "null": "`null`",
    "array": "list",
    "object": "object",
}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _allowed(schema: dict[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    bounds = [f"{sign} {schema[key]}" for key, sign in BOUNDS.items() if key in schema]
    words = [WORDS[schema["type"]] if "type" in schema else "anything", ", ".join(bounds)]
    items = schema.get("items") or schema.get("additionalProperties")
    if isinstance(items, dict):
        words.append(f"of {_allowed(items)}")
    return " ".join(filter(None, words))


def _commands() -> str:
    os.environ["COLUMNS"] = "88"  # argparse wraps lines to the terminal, here to the page
    (commands,) = make_parser()._subparsers._group_actions  # type: ignore[union-attr]
    return "\n".join(
        f"## marl {name}\n\n```text\n{command.format_help()}```\n"
        for name, command in commands.choices.items()  # type: ignore[union-attr, misc]
    )
