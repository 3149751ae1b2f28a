"""The actor of learned messages: its input, and its rounds of messages. `marl.agents.messages`
trains it."""

from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn
from torch.nn import functional as F

from marl.agents.core.communication import sets
from marl.agents.core.learner import PIECE
from marl.nn.layers import StackedLinear
from marl.nn.pooling import max_pool, pair_max_pool
from marl.nn.sets import SHARPNESS
from marl.worlds.spaces import Group, Part, pieces


class Layout(NamedTuple):
    """The columns of a percept: observation, heard agents, memory and claim."""

    observed: Group
    rounds: int
    memory: int

    @property
    def sizes(self) -> list[int]:
        """Sizes of: observation, numbers of heard agents (round by round), numbers of landmarks in
        view, memory, own claim, and the place of the own landmark in the best assignment with a
        flag that it is known."""
        agents, landmarks = sets(self.observed.observation_parts)
        (observations,) = self.observed.observation_space.shape
        return [observations, self.rounds * agents.count, landmarks.count, self.memory, 1, 3]

    @property
    def group(self) -> Group:
        """The group, with the percept as its observation space."""
        g = self.observed
        space = Box(-np.inf, np.inf, (sum(self.sizes),), np.float32)
        _, heard, seen, memory, claim, _ = self.sizes
        parts = (
            *g.observation_parts,
            Part("neighbours", scalars=heard + seen),
            Part("memory", vectors=memory // 2),
            Part("claim", scalars=claim),
            Part("assigned", 1, 1, 1, True),
        )
        return Group(g.names, space, g.action_space, parts, g.action_parts)


class Percept(NamedTuple):
    """The percepts of R agents, [1, R, ...]."""

    own: Tensor  # [.., O'] the observation without agents and landmarks
    agents: Tensor  # [.., K, item + 1], with the distance
    landmarks: Tensor  # [.., L, item + 1]
    heard: Tensor  # i64[.., rounds, K] rows of the heard agents; R: none
    seen: Tensor  # [.., L] numbers of the landmarks
    memory: Tensor  # [.., M]
    claim: Tensor  # [.., 1] number of a landmark; -1: none
    assigned: Tensor  # [.., 3]


def percept(layout: Layout, rows: Tensor) -> Percept:
    """Percepts [B, N, P] as their columns."""
    worlds, n, _ = rows.shape
    observed, heard, seen, memory, claim, assigned = rows.flatten(0, 1)[None].split(
        layout.sizes, -1
    )
    agents, landmarks = sets(layout.observed.observation_parts)
    items = pieces(layout.observed.observation_parts, observed)

    def with_distance(part: Part) -> Tensor:
        x = items.pop(part.name)
        return torch.cat([x, torch.linalg.vector_norm(x[..., :2], dim=-1, keepdim=True)], -1)

    seen_agents, seen_landmarks = with_distance(agents), with_distance(landmarks)
    first = n * torch.arange(worlds).repeat_interleave(n)[:, None]
    numbers = heard[0].long()
    numbers = torch.where(numbers < 0, worlds * n, numbers + first)
    return Percept(
        torch.cat([x.flatten(2) for x in items.values()], -1),
        seen_agents,
        seen_landmarks,
        numbers.view(1, worlds * n, layout.rounds, -1),
        seen,
        memory,
        claim,
        assigned,
    )


class Actor(nn.Module):
    """The actor that all agents of a group share."""

    def __init__(self, layout: Layout, actions: int, width: int) -> None:
        super().__init__()
        agents, landmarks = sets(layout.observed.observation_parts)
        w, m = width, layout.memory
        own = layout.sizes[0] - agents.size - landmarks.size
        agent, landmark = agents.item_size + 1, landmarks.item_size + 1
        self.pair_landmark = StackedLinear(1, landmark, w, bias=False)
        self.pair_agent = StackedLinear(1, agent + m, w, bias=False)
        self.pair_both = StackedLinear(1, 2, w, bias=False)
        self.token = StackedLinear(1, landmark + own + m + w + 1, w)
        self.score = StackedLinear(1, w, 1, bias=False)
        z = own + m + landmark + w
        self.write = StackedLinear(1, z, 2 * m)
        self.trunk = StackedLinear(1, z, w)
        self.output = StackedLinear(1, w, actions).small()
        self.direct = StackedLinear(1, own + landmark, actions, bias=False).small()

    def forward(self, p: Percept, said: list[tuple[Tensor, Tensor]] | None = None) -> "Outcome":
        """All rounds of a step. `said`: memories and claims of all rows, as heard in each round;
        None: the current ones."""
        scores, spoken = [], []
        there = p.landmarks[..., -2].amax(-1, keepdim=True) > 0
        for r in range(p.heard.shape[2]):
            spoken.append((p.memory, p.claim))
            z, score, direct = self._round(p, r, spoken[r] if said is None else said[r])
            keep, new = self.write(z).chunk(2, -1)
            keep = keep.sigmoid()
            best = score.argmax(-1, keepdim=True)
            scores.append(score)
            p = p._replace(
                memory=keep * p.memory + (1.0 - keep) * new.tanh(),
                claim=torch.where(there, p.seen.gather(-1, best), -1.0),
            )
        output = self.output(F.relu(self.trunk(z))) + self.direct(direct)
        return Outcome(output, p.memory, p.claim, scores, spoken)

    def _round(self, p: Percept, r: int, said: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """z, scores [1, R, L] and the input of the action's direct term, after a round in which all
        agents `said` memories and claims; without gradients in pieces of `PIECE` rows."""
        memories = torch.cat([said[0], said[0].new_zeros(1, 1, said[0].shape[-1])], 1)[0]
        claims = torch.cat([said[1], said[1].new_full((1, 1, 1), -1.0)], 1)[0, :, 0]
        rows = p.own.shape[1]
        if torch.is_grad_enabled() or rows <= PIECE:
            return self._listen(p, p.heard[:, :, r], memories, claims)
        parts = [
            Percept(*[x[:, first : first + PIECE] for x in p]) for first in range(0, rows, PIECE)
        ]
        done = [self._listen(part, part.heard[:, :, r], memories, claims) for part in parts]
        return tuple(torch.cat(columns, 1) for columns in zip(*done, strict=True))

    def _listen(
        self, p: Percept, heard: Tensor, memories: Tensor, claims: Tensor
    ) -> tuple[Tensor, ...]:
        """As `_round`. `heard` [1, R, K]: rows of `memories` and `claims`."""
        count = p.landmarks.shape[2]
        there = p.landmarks[..., -2:-1]
        agents = torch.cat([p.agents, memories[heard]], -1)
        gap = torch.linalg.vector_norm(
            p.landmarks[:, :, :, None, :2] - p.agents[:, :, None, :, :2], dim=-1
        )
        claimed = (p.seen[..., None] == claims[heard][:, :, None]).float()
        pair = pair_max_pool(
            self._each(self.pair_landmark, p.landmarks),
            self._each(self.pair_agent, agents),
            [gap, claimed],
            self.pair_both.weight,
            [p.landmarks[..., -2], p.agents[..., -2]],
        )
        mine = (p.seen == p.claim)[..., None].float()
        own = torch.cat([p.own, p.memory], -1)
        spread = own[:, :, None].expand(-1, -1, count, -1)
        token = torch.cat([p.landmarks, spread, pair, mine], -1)
        token = F.relu(self._each(self.token, token)) * there
        score = SHARPNESS * self._each(self.score, token)[..., 0] + (there[..., 0] - 1.0) * 1e9
        picked = (score.softmax(-1)[..., None] * p.landmarks).sum(2)
        z = torch.cat([own, picked, max_pool(token)], -1)
        return z, score, torch.cat([p.own, picked], -1)

    @staticmethod
    def _each(layer: nn.Module, x: Tensor) -> Tensor:
        """Apply a layer to every item of every row."""
        return layer(x.flatten(1, -2)).view(*x.shape[:-1], -1)


class Outcome(NamedTuple):
    """The result of a step's rounds."""

    output: Tensor  # [1, R, A] the action before tanh
    memory: Tensor  # [1, R, M]
    claim: Tensor  # [1, R, 1]
    scores: list[Tensor]  # [1, R, L] of every round
    spoken: list[tuple[Tensor, Tensor]]  # memories and claims sent in every round
