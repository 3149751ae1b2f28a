"""Critics' inputs: from the observations or actions of all groups, {g: [N, B, size]}, one row for
each critic of a group, [N, B, size of its input]."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Look = Callable[[dict[str, Tensor], str], Tensor]


def looks_of(critic: Literal["own", "all"], networks: Literal["one", "each"]) -> tuple[Look, Look]:
    """How critics see observations, and how they see actions: their own agent's, or everybody's
    (then the own action comes first). There is one critic for a group, or one for each agent."""
    if critic == "own":
        return own, own
    # Separate critics can learn any order of the agents, so all of them share one table.
    return (one_table if networks == "each" else own_first), own_first


def own(x: dict[str, Tensor], g: str) -> Tensor:
    """Each agent's own row."""
    return x[g]


def own_first(x: dict[str, Tensor], g: str) -> Tensor:
    """Each agent's own row first, then those of its group in turn, then the other groups'."""
    n = len(x[g])
    turn = (torch.arange(n)[:, None] + torch.arange(n)) % n
    team = x[g][turn].transpose(1, 2).flatten(2)
    return torch.cat([team, *[_row(v).expand(n, -1, -1) for h, v in x.items() if h != g]], -1)


def one_table(x: dict[str, Tensor], g: str) -> Tensor:
    """One row for all agents of the group: the group in its order, then the other groups."""
    rows = [_row(x[g]), *[_row(v) for h, v in x.items() if h != g]]
    return torch.cat(rows, 1).expand(len(x[g]), -1, -1)


def _row(x: Tensor) -> Tensor:
    """[N, B, size] -> [B, N size]."""
    return x.transpose(0, 1).flatten(1)
