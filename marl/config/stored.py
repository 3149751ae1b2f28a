"""Configs in files. Reading a file must not run code that it names."""

import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marl.agents import REGISTRY, agent_names
from marl.config.checking import parse_section
from marl.config.model import Config, TrainingConfig, flattened
from marl.config.parsing import (
    check_sections,
    named_section,
    parse_agent,
    parse_config,
    parse_evaluation,
    parse_training,
)
from marl.errors import UserError
from marl.folders import data_folders, data_root
from marl.learning.exploration import ExplorationConfig
from marl.policies.builtin import BUILTIN
from marl.worlds.pettingzoo.config import PREFIX, module_of
from marl.worlds.registry import SCENARIOS, scenario_names


@dataclass(frozen=True)
class StoredConfig:
    """The config in a weights or state file. Scenarios and agents that are not marl's own are not
    imported: their settings are as stored, and `resolve` checks them."""

    path: Path = field(compare=False)
    data: dict[str, Any]  # as `Config.to_json`, with all defaults of what is marl's own
    training: TrainingConfig

    def flat(self) -> dict[str, Any]:
        """Every setting as {dotted key: value}."""
        return flattened(self.data)

    @property
    def foreign(self) -> dict[str, str]:
        """The settings that name code which neither marl nor an installed package offers."""
        names = {
            "world.scenario": self.data["world"]["scenario"],
            "agent.name": self.data["agent"]["name"],
            **_named(self.data["agents"]),
        }
        known = (*scenario_names(), *agent_names())
        return {key: name for key, name in names.items() if name not in known}

    @property
    def agent_names(self) -> set[str]:
        """The names of all agents, those of single groups and frozen ones included."""
        names = {self.data["agent"]["name"], *_named(self.data["agents"]).values()}
        return names - {*BUILTIN}

    def resolve(self, trusted: Collection[str] = ()) -> Config:
        """The config. This imports the code that it names.

        `trusted` are settings ("world.scenario") whose code may be imported in any case. Raises
        UserError if a file outside our own runs names other code that was not imported before.
        """
        code = {key: name for key, name in self.foreign.items() if key not in trusted}
        modules = {_module(name) for name in code.values()}
        ours = [(folder / "models").resolve() for folder in data_folders()]
        if modules <= {*sys.modules} or any(self.path.resolve().is_relative_to(x) for x in ours):
            return parse_config(self.data)
        settings = " ".join(f"{key}={name}" for key, name in code.items())
        raise UserError(
            f"{self.path} is not in {data_root()}, and names code that would be imported: if you "
            f"trust that, add --set {settings} (in Python, import {' and '.join(sorted(modules))} "
            "first)"
        )


def _named(agents: Any) -> dict[str, str]:
    """The settings of a section `agents` that name agents: those of groups, and of frozen ones."""
    names = {}
    for g, player in agents.items() if isinstance(agents, dict) else ():
        settings = player if isinstance(player, dict) else {"name": player}
        trained = settings.get("agent")
        if isinstance(trained, dict) and "name" in trained:
            names[f"agents.{g}.agent.name"] = str(trained["name"])
        if "name" in settings:
            names[f"agents.{g}.name"] = str(settings["name"])
    return names


def _module(name: str) -> str:
    """The module of a scenario or agent "module:NAME", or "pettingzoo:FAMILY/NAME"."""
    if name.startswith(PREFIX):
        return module_of(name.removeprefix(PREFIX))
    return name.partition(":")[0]


def parse_stored_config(path: Path, data: dict[str, Any]) -> StoredConfig:
    """The config in the file at `path`. Raises UserError if it is not a config of this version."""
    check_sections(data)
    world = named_section(data.get("world", {}), "world", "scenario", scenario_names(), "spread")
    agent = named_section(data.get("agent", {}), "agent", "name", agent_names(), "atoc")
    others = _named(data.get("agents", {})).values()
    if world["scenario"] in SCENARIOS and {agent["name"], *others} <= {*REGISTRY}:
        config = parse_config(data)
        return StoredConfig(path, config.to_json(), config.training)
    if agent["name"] in REGISTRY:
        agent = parse_agent(agent).model_dump(mode="json")
    exploration = parse_section(ExplorationConfig, data.get("exploration", {}), "exploration")
    training = parse_training(data.get("training", {}))
    evaluation = parse_evaluation(data.get("evaluation", {}))
    filled = {
        "world": world,
        "agent": agent,
        "agents": data.get("agents", {}),
        "exploration": exploration.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "evaluation": evaluation.model_dump(mode="json"),
    }
    return StoredConfig(path, filled, training)
