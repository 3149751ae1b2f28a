"""The JSON schema of configs, by which editors complete and check them."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from marl.agents import REGISTRY
from marl.config.json_text import SCHEMA
from marl.config.model import EvaluationConfig, TrainingConfig
from marl.config.parsing import BASE
from marl.learning.exploration import ExplorationConfig
from marl.worlds.registry import SCENARIOS

PLAIN: dict[str, type[BaseModel]] = {
    "exploration": ExplorationConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
}


def config_schema() -> dict[str, Any]:
    """The schema, made from the models that check configs. Settings of scenarios and agents are
    checked where the section names them; those of a `base` or of one's own are not known here."""
    agents = {name: kind.config for name, kind in REGISTRY.items()}
    models = dict.fromkeys([*SCENARIOS.values(), *agents.values(), *PLAIN.values()])
    references, definitions = models_json_schema([(model, "validation") for model in models])
    for scenario in SCENARIOS.values():
        place = references[scenario, "validation"]["$ref"].rpartition("/")[2]
        definitions["$defs"][place]["properties"]["scenario"] = {"type": "string"}

    def reference(model: type[BaseModel]) -> dict[str, Any]:
        return references[model, "validation"]

    def named(key: str, known: dict[str, Any]) -> dict[str, Any]:
        """A section whose `key` says which model it follows."""
        described = {"description": f"{', '.join(known)}, or module:NAME", "type": "string"}
        cases = [
            {
                "if": {"properties": {key: {"const": name}}, "required": [key]},
                "then": reference(model),
            }
            for name, model in known.items()
        ]
        return {"type": "object", "properties": {key: described}, "allOf": cases}

    return {
        SCHEMA: "https://json-schema.org/draft/2020-12/schema",
        "title": "A config of marl",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            SCHEMA: {"type": "string"},
            BASE: {"type": "string", "description": "a config: this one states the differences"},
            "world": named("scenario", dict(SCENARIOS)),
            "agent": named("name", agents),
            "agents": {"type": "object", "description": "who plays other groups"},
            **{section: reference(model) for section, model in PLAIN.items()},
        },
        **definitions,
    }
