"""Learned messages: agents send their nearest neighbours their memory and the landmark that they
claim. Training decides the content of the memory.

All agents of a group share one actor. Agent i has the memory m_i and claims the landmark c_i. It
sees landmarks l and neighbours j. In each of the `rounds` of a step, it reads its neighbours'
messages of the round before:

    pair(l)  = relu(max_j f(l, j, |l - j|, m_j, is l = c_j))        rivals for l
    token(l) = relu(g(l, own, m_i, pair(l), is l = c_i))
    z        = own, m_i, sum_l softmax_l(score(token(l))) l, max_l token(l)
    m_i     <- keep m_i + (1 - keep) tanh(new)                      keep, new: affine in z
    c_i     <- argmax_l score(token(l))

Then it acts: a_i = tanh(head(z)). Actor and critics learn from whole steps of a world with the step
after them, so the next step's actions tell whether a message was useful:

    y  = r + gamma (1 - terminated) min_k Q'_k(s', mu'(o', m'))
    Q <- minimise mean (Q(s, a) - y)^2                              s: privileged, in training only
    mu <- maximise Q(s, mu(o, m)) and Q(s', mu(o', m')), m' = what mu makes of m, and minimise
          `claim_loss` times the cross entropy of the scores to the agent's landmark in the best
          assignment, if it is in view

Shapes: E worlds (or B steps) of N agents are R = E N rows, [1, R, size].
"""

from typing import Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from marl.agents.core.actor_critic import ActorCritic, ActorCriticConfig
from marl.agents.core.base import Needs, View
from marl.agents.core.communication import HearingConfig, heard, known, sets, told
from marl.agents.core.learner import LearningAgent, Logged, below, of_all
from marl.agents.messages_actor import Actor, Layout, Outcome, Percept, percept
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch, Columns, Draw, columns_of
from marl.nn.sets import SetNetwork
from marl.worlds.base import Arrays
from marl.worlds.spaces import Group, Part, pieces

CRITIC_AGENTS = 3  # nearest agents in the critics' input


class MessagesConfig(ActorCriticConfig, HearingConfig):
    """Settings of agents with learned messages."""

    name: Literal["messages"] = "messages"
    width: int = Field(64, ge=1, description="units of each layer")
    memory: int = Field(
        16, ge=2, multiple_of=2, description="numbers in a message besides the claim: plane vectors"
    )
    claim_loss: float = Field(
        0.0, ge=0, description="weight of the loss of claims that differ from the best assignment"
    )


class MessagesAgent(LearningAgent["_Learner"]):
    """A learner for each group, and the memory and claim of every agent."""

    draw: Draw = "steps"
    noises = ("gaussian", "ou", "none")

    def __init__(
        self,
        groups: dict[str, Group],
        config: MessagesConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.layouts = {g: Layout(x, config.rounds, config.memory) for g, x in groups.items()}
        self.needs = Needs(known(groups), privileged=True)
        self._heard: Arrays = {}  # i64[rounds, E, N, K] heard agents; -1: none
        self._known: Arrays = {}  # f32[E, N, M + 1] memory and claim
        self._past: dict[str, list[np.ndarray]] = {}  # f32[rounds, E, N, M + 1] of the last steps
        super().__init__(
            groups, config, exploration, seed, lambda g: _Learner(self.layouts[g], config)
        )

    # ------------------------------------------------------------------------------------- acting

    def columns(self, groups: dict[str, Group]) -> Columns:
        """The standard columns, with the percept as observation."""
        return columns_of({g: layout.group for g, layout in self.layouts.items()})

    def perceive(self, view: View) -> Arrays:
        near, begun = told(view.neighbours), view.new_episode
        perceived = {}
        for g, rows in view.observation.items():
            parts, shape = self.groups[g].observation_parts, rows.shape[:2]
            agents, landmarks = sets(parts)
            if g not in self._known or self._known[g].shape[:2] != shape:
                self._start(g, shape)
                begun = None
            if begun is None or begun.any():
                seen = pieces(parts, rows)[agents.name]
                there = heard(self.config, seen, self.generator)
                numbers = np.where(there, near[g].agents[:, :, : agents.count], -1)
                if begun is not None:
                    numbers = np.where(begun[:, None, None], numbers, self._heard[g])
                self._heard[g] = numbers
            assigned = np.zeros((*shape, 3), np.float32)
            if view.privileged is not None:
                assigned[..., :2], assigned[..., 2] = view.privileged[g], 1.0
            columns = [
                rows,
                np.moveaxis(self._heard[g], 0, 2).reshape(*shape, -1),
                near[g].landmarks[:, :, : landmarks.count],
                self._known[g],
                assigned,
            ]
            perceived[g] = np.concatenate(columns, 2, dtype=np.float32)
        return perceived

    def _start(self, g: str, shape: tuple[int, ...]) -> None:
        """Empty memories, claims and messages."""
        c = self.config
        self._known[g] = _nothing((*shape, c.memory + 1))
        self._past[g] = [_nothing((c.rounds, *shape, c.memory + 1))] * c.message_delay

    def act(self, perceived: Arrays, explore: bool = False) -> Arrays:
        actions = {}
        with torch.no_grad():
            for g, learner in self.learners.items():
                shape = perceived[g].shape[:2]
                actor = cast(Actor, learner.actor if explore else learner.greedy)
                p = percept(self.layouts[g], torch.from_numpy(perceived[g]))
                said = None
                if self._past[g]:
                    late = torch.from_numpy(self._past[g][0]).flatten(1, 2)[:, None]
                    said = [(x[..., :-1], x[..., -1:]) for x in late]
                out = actor(p, said)
                self._known[g] = torch.cat([out.memory, out.claim], -1).view(*shape, -1).numpy()
                if self._past[g]:
                    now = torch.stack([torch.cat(x, -1) for x in out.spoken])
                    self._past[g] = [
                        *self._past[g][1:],
                        now.view(-1, *shape, now.shape[-1]).numpy(),
                    ]
                action = out.output.tanh().view(*shape, -1)
                actions[g] = (self.exploration.disturb(g, action) if explore else action).numpy()
        return actions

    def reset(self, mask: np.ndarray | None = None) -> None:
        self.exploration.reset(mask)
        if mask is None:
            self._known.clear()
            return
        for g, before in self._known.items():
            self._known[g] = np.where(mask[:, None, None], _nothing(before.shape), before)
            self._past[g] = [
                np.where(mask[:, None, None], _nothing(past.shape), past) for past in self._past[g]
            ]

    # ------------------------------------------------------------------------------------ learning

    def update(self, batch: dict[str, Batch]) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        for g, learner in self.learners.items():
            with self.config.autocast():
                result = learner.update(batch[g], self.generator)
            results |= self.logged(g, of_all(result))
        return results

    # --------------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        arrays = {f"known.{g}": x for g, x in self._known.items()}
        arrays |= {f"heard.{g}": x for g, x in self._heard.items()}
        arrays |= {f"past.{g}.{t}": x for g, p in self._past.items() for t, x in enumerate(p)}
        return super().state_dict() | {k: torch.from_numpy(x.copy()) for k, x in arrays.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._known = {g: x.numpy().copy() for g, x in below("known.", state).items()}
        self._heard = {g: x.numpy().copy() for g, x in below("heard.", state).items()}
        steps = range(self.config.message_delay)
        self._past = {
            g: [state[f"past.{g}.{t}"].numpy().copy() for t in steps] for g in self._known
        }


def _nothing(shape: tuple[int, ...]) -> np.ndarray:
    """An empty memory and no claim."""
    known = np.zeros(shape, np.float32)
    known[..., -1] = -1.0
    return known


class _Learner(ActorCritic):
    """The learner of one group."""

    def __init__(self, layout: Layout, config: MessagesConfig) -> None:
        if config.normalise:
            raise ValueError("agent.normalise is on, but 'messages' compares positions")
        group = layout.observed
        agents, landmarks = sets(group.observation_parts)
        (actions,) = group.action_space.shape
        own = [part for part in group.observation_parts if part not in (agents, landmarks)]
        count = min(CRITIC_AGENTS, agents.count)
        rivals = Part(agents.name, count, agents.vectors, agents.scalars, True)
        parts = (*own, rivals, Part("assigned", 1, 1, 1, True))
        inputs = sum(part.size for part in parts)

        def critic() -> nn.Module:
            norm = "critic" in config.layer_norm
            return SetNetwork(1, parts, inputs, actions, 1, (), config.width, norm)

        super().__init__(config, layout.group, 1, Actor(layout, actions, config.width), critic)
        self.layout = layout
        self.claim_loss = config.claim_loss

    def critic_inputs(self, p: Percept) -> Tensor:
        """The critics' input, [1, R, C]."""
        agents = p.agents[:, :, :CRITIC_AGENTS, :-1]
        return torch.cat([p.own, agents.flatten(2), p.assigned], -1)

    def update(self, batch: Batch, generator: torch.Generator) -> Logged:
        """One update from B steps of N agents."""
        actor = cast(Actor, self.actor)
        # Prepare
        o, a, o2 = self.augment(batch.observation, batch.action, batch.next_observation, generator)
        now, then = percept(self.layout, o), percept(self.layout, o2)
        s, s2 = self.critic_inputs(now), self.critic_inputs(then)
        a = a.flatten(0, 1)[None]
        reward, terminated = (x.reshape(1, -1, 1) for x in (batch.reward, batch.terminated))
        self.updates += 1

        # Target
        with torch.no_grad():
            a2 = self.smoothed(self.target_actor(then).output.to(a.dtype).tanh(), generator)
        y = self.target(reward, terminated, s2, a2)
        # Critics
        loss, result = self.critic_loss(s, a, y)
        self.descend(self.critics, self.critic_optimiser, loss)
        # Actor
        if self.actors_turn:
            first = actor(now)
            second = actor(then._replace(memory=first.memory, claim=first.claim))
            output = torch.cat([first.output, second.output], 1)
            loss, _, logged = self.actor_loss(output, torch.cat([s, s2], 1), torch.cat([a, a], 1))
            if self.claim_loss:
                claims = torch.stack([claim_loss(now, first), claim_loss(then, second)]).mean()
                loss = loss + self.claim_loss * claims
                logged |= {"claim_loss": claims.detach(), "actor_loss": loss.detach()}
            self.descend(self.actor, self.actor_optimiser, loss)
            result |= logged
        # Target networks
        self.move_targets()
        return result


def claim_loss(p: Percept, out: Outcome) -> Tensor:
    """Cross entropy of all rounds' scores to the agent's landmark in the best assignment, if it is
    in view."""
    gap = (p.landmarks[..., :2] - p.assigned[:, :, None, :2]).abs().amax(-1)
    own = (gap < 1e-4) & (p.landmarks[..., -2] > 0) & (p.assigned[..., 2:] > 0)
    known = own.any(-1).float()
    label = own.float().argmax(-1)
    losses = [F.cross_entropy(s[0], label[0], reduction="none") * known[0] for s in out.scores]
    return torch.stack(losses).mean(0).sum() / known.sum().clamp(min=1.0)
