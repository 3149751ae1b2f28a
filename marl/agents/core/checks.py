"""Settings that several families have, and that must fit each other or a group of agents."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from marl.worlds.spaces import Group


def check_idle(config: BaseModel, names: Iterable[str], why: str) -> None:
    """Raises ValueError if one of these settings, which have no effect, is not its default. `why`
    ends the sentence."""
    for name in names:
        if (value := getattr(config, name)) != type(config).model_fields[name].default:
            raise ValueError(f"{name} is {value}, but {why}")


def check_network(
    config: Any, groups: Mapping[str, Group], joint: bool = False, memory: int = 0
) -> None:
    """Raises ValueError if a config's `network` is a set, or what the groups observe are pictures,
    with which its other settings do not go. `joint`: critics see everybody's observations;
    `memory`: units of a recurrent layer."""
    check_pictures(config, groups, joint)
    if config.network != "set":
        return
    if joint:
        raise ValueError(
            f"agent.network is 'set', but the critic of {config.name!r} sees everybody's "
            "observations, which are no sets; use 'mlp'"
        )
    if memory:
        raise ValueError("agent.memory is on, but a 'set' network has none; use 'mlp'")
    if config.normalise:
        raise ValueError(
            "agent.normalise is on, but a 'set' network compares positions, which scaling them one "
            "by one would distort; use 'mlp'"
        )


def check_pictures(config: Any, groups: Mapping[str, Group], joint: bool) -> None:
    """Raises ValueError if what the groups observe are pictures, which do not go with a config."""
    pictures = [sum(bool(x.picture) for x in group.observation_parts) for group in groups.values()]
    if not any(pictures):
        return
    if joint or max(pictures) > 1:
        raise ValueError(
            f"{config.name!r} learns from everybody's observations together, which cannot be "
            "pictures"
        )
    if config.normalise:
        raise ValueError("agent.normalise is on, but pictures are observed, which need none")


def check_augment(config: Any, group: Group, memory: int = 0) -> None:
    """Raises ValueError if `augment` is on, but cannot turn a group's vectors or the contents of a
    recurrent layer of `memory` units. Pictures are not turned, but shifted."""
    if not config.augment or group.picture:
        return
    if any(part.choice and part.directions is None for part in group.action_parts):
        raise ValueError("agent.augment is on, but the world does not say where its choices lead")
    if group.legal_from is not None:
        raise ValueError("agent.augment is on, but the world says which choices are allowed")
    if memory:
        raise ValueError("agent.augment is on, but the contents of a memory cannot be turned")
    if not (group.observation_parts and group.action_parts):
        raise ValueError("agent.augment is on, but the world does not say what its vectors are")
