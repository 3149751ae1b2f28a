"""Settings that several families have, and that must fit each other or a group of agents."""

from typing import Any

from marl.worlds.spaces import Group


def check_network(config: Any, joint: bool = False, memory: int = 0) -> None:
    """Raises ValueError if a config's `network` is a set, which its other settings cannot have.
    `joint`: critics see everybody's observations; `memory`: units of a recurrent layer."""
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


def check_augment(config: Any, group: Group, memory: int = 0) -> None:
    """Raises ValueError if `augment` is on, but cannot turn a group's vectors or the contents of a
    recurrent layer of `memory` units."""
    if not config.augment:
        return
    if any(part.choice and part.directions is None for part in group.action_parts):
        raise ValueError("agent.augment is on, but the world does not say where its choices lead")
    if group.legal_from is not None:
        raise ValueError("agent.augment is on, but the world says which choices are allowed")
    if memory:
        raise ValueError("agent.augment is on, but the contents of a memory cannot be turned")
    if not (group.observation_parts and group.action_parts):
        raise ValueError("agent.augment is on, but the world does not say what its vectors are")
