"""Seeds side by side: agents that differ only in their seed learn on one stack of networks.

The stack axis also holds the seeds: S agents with K networks each learn as S K networks. Each agent
keeps its own random streams, statistics and parameter noise. Its networks and optimiser moments are
slices of the common ones, so `weights` and `state_dict` are those of an agent that learns alone.
Seeds stay independent. Numbers differ from those of an agent alone only by the rounding of stacked
matrix products.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from marl.agents.core.base import Policy
from marl.agents.core.learner import adam, of_all
from marl.learning.record import Batch
from marl.worlds.base import Arrays
from marl.worlds.combined import split

NETWORKS = ("actor", "critics", "target_actor", "target_critics", "greedy")


class SeedStack(Policy):
    """S agents of the DDPG family as one policy for S times as many worlds: first the worlds of the
    first agent, then those of the second, and so on."""

    def __init__(self, agents: Sequence[Any]) -> None:
        """Raises ValueError if an agent is not `stackable`, or if their update counts differ."""
        if not all(agent.stackable for agent in agents):
            raise ValueError("these agents cannot be trained side by side")
        self.agents = agents
        self.config = agents[0].config
        self.learners = {
            g: _together([agent.learners[g] for agent in agents]) for g in agents[0].groups
        }

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        parts = split(perceived, len(self.agents))
        actions = {}
        with torch.no_grad():
            for g, learner in self.learners.items():
                seen = [agent.seen(g, parts[s], explore) for s, agent in enumerate(self.agents)]
                if explore and g in self.agents[0].noise:
                    wanted = [agent.noise[g].act(seen[s]) for s, agent in enumerate(self.agents)]
                else:
                    actor = learner.actor if explore else learner.greedy
                    output = learner.output(actor, torch.cat(seen)).tanh()
                    wanted = list(output.chunk(len(self.agents)))
                done = [
                    agent.to_world(g, wanted[s], explore) for s, agent in enumerate(self.agents)
                ]
                actions[g] = np.concatenate(done)
        return actions

    def reset(self, mask: np.ndarray | None = None) -> None:
        masks = [None] * len(self.agents) if mask is None else np.split(mask, len(self.agents))
        for agent, part in zip(self.agents, masks, strict=True):
            agent.reset(part)

    def anneal(self, progress: float) -> None:
        """As `Agent.anneal`, for all agents."""
        for agent in self.agents:
            agent.anneal(progress)
        share = 1.0 + (self.config.final_lr - 1.0) * progress
        for learner in self.learners.values():
            learner.scale_rates(share)

    def update(self, batches: Sequence[dict[str, Batch]]) -> list[dict[str, Tensor]]:
        """As `Agent.update`; each agent has a batch of its own."""
        results: list[dict[str, Tensor]] = [{} for _ in self.agents]
        with self.config.autocast():
            steps = [
                {g: agent.prepare(g, own) for g, own in batch.items()}
                for agent, batch in zip(self.agents, batches, strict=True)
            ]
            together = {g: _joined([own[g] for own in steps]) for g in self.learners}
            next_actions = {g: self._next_actions(g, together[g]) for g in self.learners}
            for g, learner in self.learners.items():
                inputs = [
                    agent.critic_inputs(g, steps[s], {h: x[s] for h, x in next_actions.items()})
                    for s, agent in enumerate(self.agents)
                ]
                result = learner.update(together[g], _joined(inputs), self.agents[0].generator)
                slices = {name: x.chunk(len(self.agents)) for name, x in result.items()}
                for s, agent in enumerate(self.agents):
                    own = agent.learners[g]
                    own.updates = learner.updates
                    single = of_all({name: x[s] for name, x in slices.items()})
                    results[s] |= agent.logged(g, single, own.stacked(steps[s][g].seen))
        return results

    def _next_actions(self, g: str, steps: Any) -> list[Tensor]:
        """The next action of each agent's target actor, smoothed by the agent's own noise."""
        learner = self.learners[g]
        with torch.no_grad():
            output = learner.output(learner.target_actor, steps.next_seen)
            actions = output.tanh().chunk(len(self.agents))
        smoothed = torch.cat(
            [
                learner.smoothed(action, agent.generator)
                for agent, action in zip(self.agents, actions, strict=True)
            ]
        )
        whole = smoothed if steps.stays is None else smoothed * steps.stays
        return list(whole.chunk(len(self.agents)))


def _joined(parts: Sequence[Any]) -> Any:
    """S named tuples of tensors [N, B, size] -> one of tensors [S N, B, size]."""
    columns = zip(*parts, strict=True)
    return type(parts[0])(*[None if x[0] is None else torch.cat(x) for x in columns])


def _together(learners: Sequence[Any]) -> Any:
    """One learner on common networks; the networks of the given learners become slices of them."""
    if len({learner.updates for learner in learners}) > 1:
        raise ValueError("agents that have not learned equally often cannot go on side by side")
    common = copy.copy(learners[0])
    common.stack = sum(learner.stack for learner in learners)
    for name in NETWORKS:
        if name == "greedy" and learners[0].greedy is learners[0].actor:
            common.greedy = common.actor
            continue
        networks = [getattr(learner, name) for learner in learners]
        setattr(common, name, copy.deepcopy(networks[0]))
        for parameter, *own in _parameters(getattr(common, name), *networks):
            parameter.data = torch.cat([p.data for p in own])
            for p, piece in zip(own, parameter.data.chunk(len(own)), strict=True):
                p.data = piece
    for name, of in (("actor_optimiser", "actor"), ("critic_optimiser", "critics")):
        optimisers = [getattr(learner, name) for learner in learners]
        rate = optimisers[0].param_groups[0]["initial_lr"]
        optimiser = adam(getattr(common, of), rate)
        for parameter, *own in _parameters(
            getattr(common, of), *[getattr(learner, of) for learner in learners]
        ):
            states = [o.state.get(p) for o, p in zip(optimisers, own, strict=True)]
            step = next((state["step"] for state in states if state), torch.zeros(()))
            moments = {
                key: torch.cat(
                    [s[key] if s else torch.zeros_like(p) for s, p in zip(states, own, strict=True)]
                )
                for key in ("exp_avg", "exp_avg_sq")
            }
            optimiser.state[parameter] = {"step": step, **moments}
            for s, (o, p) in enumerate(zip(optimisers, own, strict=True)):
                slices = {key: x.chunk(len(own))[s] for key, x in moments.items()}
                o.state[p] = {"step": step, **slices}
        setattr(common, name, optimiser)
    return common


def _parameters(*networks: nn.Module) -> zip:
    """The corresponding parameters of all networks."""
    return zip(*[network.parameters() for network in networks], strict=True)
