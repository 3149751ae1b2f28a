"""ByGroup: each group has an agent of its own, or a policy that does not learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from torch import Tensor

from marl.agents.core.base import Agent, Policy, View
from marl.agents.core.learner import below
from marl.learning.record import Batch, Columns, Sampling
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group


@dataclass
class Player:
    """An agent or policy and the groups that it plays."""

    groups: dict[str, Group]
    policy: Policy
    learns: bool = True

    @property
    def name(self) -> str:
        """The name in stored states and logs."""
        return "+".join(self.groups)

    def own(self, by_group: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of this player's groups."""
        return {g: x for g, x in by_group.items() if g in self.groups}

    def view(self, view: View) -> View:
        """An agent gets its own groups, for which it was made; any other policy gets all."""
        if not isinstance(self.policy, Agent):
            return view
        parts = (view.observation, view.neighbours, view.privileged)
        observation, neighbours, privileged = (x if x is None else self.own(x) for x in parts)
        return View(cast(Arrays, observation), view.new_episode, neighbours, privileged)


class ByGroup(Agent):
    """Several players as one agent. Each learns from the experience of its own groups only."""

    def __init__(self, players: Sequence[Player]) -> None:
        """Raises ValueError if two weights have one name."""
        self.players = players
        self.groups = {g: group for player in players for g, group in player.groups.items()}
        self._agents = {x.name: x.policy for x in players if isinstance(x.policy, Agent)}
        self._learning = {x.name: cast(Agent, x.policy) for x in players if x.learns}
        self.size_invariant = all(agent.size_invariant for agent in self._agents.values())
        for player in players:
            self.needs = self.needs | player.policy.needs
        if len(self.weights()) < sum(len(x.weights()) for x in self._agents.values()):
            raise ValueError(f"the agents of {' and '.join(self._agents)} name weights alike")

    def perceive(self, view: View) -> Arrays:
        perceived: Arrays = {}
        for player in self.players:
            perceived |= player.own(player.policy.perceive(player.view(view)))
        return {g: perceived[g] for g in view.observation}

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions: Arrays = {}
        for player in self.players:
            seen, exploring = player.own(perceived), explore and player.learns
            actions |= player.own(player.policy.act(seen, exploring))
        return {g: actions[g] for g in perceived}

    def reset(self, mask: np.ndarray | None = None) -> None:
        for player in self.players:
            player.policy.reset(mask)

    def columns(self, groups: dict[str, Group]) -> Columns:
        """The columns of the groups that learn."""
        columns: Columns = {}
        for player in self.players:
            if player.learns:
                columns |= cast(Agent, player.policy).columns(player.own(groups))
        return columns

    def sampling(self, groups: dict[str, Group]) -> dict[str, Sampling]:
        """Agents that learn from single agents' rows get them from whole steps where another one
        learns from those, so that all learn from the same steps."""
        drawn: dict[str, Sampling] = {}
        for player in self.players:
            if player.learns:
                drawn |= cast(Agent, player.policy).sampling(player.own(groups))
        steps = Sampling("steps")
        if steps not in drawn.values():
            return drawn
        return {g: steps if x.draw == "agents" else x for g, x in drawn.items()}

    def recorded(self) -> Mapping[str, Arrays]:
        together: dict[str, Arrays] = {}
        for agent in self._learning.values():
            for name, arrays in agent.recorded().items():
                together.setdefault(name, {}).update(arrays)
        return together

    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        for player in self.players:
            if not player.learns:
                continue
            agent, own = cast(Agent, player.policy), player.own(batch)
            if not own:  # a rollout that is not complete
                continue
            if agent.draw == "agents":
                own = {g: _one_by_one(x) for g, x in own.items()}
            prefix = f"{player.name}." if len(player.groups) == 1 else ""
            results |= {f"{prefix}{name}": x for name, x in agent.update(own).items()}
        return results

    def anneal(self, progress: float) -> None:
        for agent in self._learning.values():
            agent.anneal(progress)

    def freeze(self, group: str, weights: dict[str, Tensor]) -> None:
        """Load a player that does not learn, or freeze one group of an agent that learns."""
        player = next(player for player in self.players if group in player.groups)
        agent = cast(Agent, player.policy)
        if player.learns:
            agent.freeze(group, weights)
        else:
            agent.load_weights(weights)

    def weights(self) -> dict[str, Tensor]:
        return {k: x for agent in self._agents.values() for k, x in agent.weights().items()}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        for agent in self._agents.values():
            agent.load_weights({k: weights[k] for k in agent.weights() if k in weights})

    def state_dict(self) -> dict[str, Any]:
        return {
            f"{player.name}/{k}": x
            for player in self.players
            for k, x in player.policy.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for player in self.players:
            player.policy.load_state_dict(below(f"{player.name}/", state))


def _one_by_one(batch: Batch) -> Batch:
    """Steps of N agents, [B, N, ...] -> steps of single agents, [B N, 1, ...]; those of single
    agents stay."""

    def flat(x: Tensor) -> Tensor:
        return x.flatten(0, 1)[:, None]

    columns = {k: flat(x) for k, x in vars(batch).items() if isinstance(x, Tensor)}
    return replace(batch, **columns, added={k: flat(x) for k, x in batch.added.items()})
