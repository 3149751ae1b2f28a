"""Claims by auction: agents send their nearest neighbours the landmark that they claim, its price,
and the prices that they know. A learned controller moves each agent to its claim.

Messages are designed, not learned. A price says how much more a landmark is worth to its agent than
the next best one. Prices spread from neighbour to neighbour. Where agents outnumber landmarks, they
rise until an agent finds it cheaper to go elsewhere. (After the auction algorithm, Bertsekas 1988;
but it never ends, only neighbours take part, and prices fade.)

Agent i sees landmarks l at distances d(l). In each of the `rounds` of a step, it reads the messages
of its neighbours j of the round before:

    1  c_j in view: table(c_j) <- the largest such p_j; this is news.
       If c_j = c_i and p_j > p_i, agent i gives c_i up
    2  l without news, except c_i: table(l) <- 0.9 max(table(l), table_j(l) of those j that see l)
    3  cost(l) = d(l) + table(l), but d(l) - 0.1 for c_i;  b1 <= b2 are the two lowest
    4  c_i is cheapest: p_i <- max(max(b2 - d(c_i), 0) + 0.05, 0.9 p_i)
       another one is:  c_i <- that, p_i <- table(c_i) + b2 - b1 + 0.05, table(c_i) <- p_i

A message holds a claim and its price, and a place and a price for each of the L landmarks in view:
3 + 3 L numbers for any N. Agents are assumed to recognise a landmark that several of them see.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from pydantic import Field
from torch import Tensor

from marl.agents.core.base import Needs, View
from marl.agents.core.communication import HearingConfig, heard, known, sets, told
from marl.agents.core.learner import below
from marl.agents.core.off_policy import LearnerBatch
from marl.agents.ddpg import DDPG, FAMILY, DDPGConfig, Variant
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch, Columns, columns_of
from marl.worlds.base import Arrays, Neighbours
from marl.worlds.compiled.cache import kernel
from marl.worlds.spaces import Group, Part, pieces

STEP, BONUS, FADE = 0.05, 0.1, 0.9  # prices in world units; FADE: their factor in each round


class AuctionConfig(DDPGConfig, HearingConfig):
    """Settings of the auction and of its controller, a shared policy."""

    name: Literal["auction"] = "auction"  # type: ignore[assignment]
    companions: int = Field(3, ge=0, description="nearest agents in the controller's input")

    @property
    def variant(self) -> Variant:
        return FAMILY["atoc"]


class Said(NamedTuple):
    """The messages of a group's agents in a round, in E worlds."""

    claim: np.ndarray  # i64[E, N] number of a landmark; -1: none
    place: np.ndarray  # f32[E, N, 2] its position relative to the agent
    price: np.ndarray  # f32[E, N]
    seen: np.ndarray  # i64[E, N, L] numbers of the landmarks in view; -1: none
    table: np.ndarray  # f32[E, N, L] their known prices


def _nothing(worlds: int, n: int, count: int) -> Said:
    """Empty messages."""
    return Said(
        np.full((worlds, n), -1),
        np.zeros((worlds, n, 2), np.float32),
        np.zeros((worlds, n), np.float32),
        np.full((worlds, n, count), -1),
        np.zeros((worlds, n, count), np.float32),
    )


@kernel
def _look(worlds, seen, landmarks, own):
    """In these worlds, agents see landmarks [E, N, L, item] with the numbers `seen`. They keep the
    prices of landmarks that stay in view, and give up a claim that is out of view."""
    for e in worlds:
        for i in range(seen.shape[1]):
            before, prices = own.seen[e, i].copy(), own.table[e, i].copy()
            own.seen[e, i], own.table[e, i] = seen[e, i], 0.0
            claim, own.claim[e, i] = own.claim[e, i], -1
            own.place[e, i] = 0.0
            for a in range(seen.shape[2]):
                if seen[e, i, a] < 0:
                    continue
                for b in range(seen.shape[2]):
                    if before[b] == seen[e, i, a]:
                        own.table[e, i, a] = prices[b]
                if seen[e, i, a] == claim:
                    own.claim[e, i] = claim
                    own.place[e, i] = landmarks[e, i, a, :2]


@kernel
def _hear(worlds, near, there, landmarks, own, said):
    """One round: agents hear the messages in `said` of the neighbours near[e, i, k] with
    there[e, i, k], and change their claims, prices and tables in `own`."""
    count = landmarks.shape[2]
    for e in worlds:
        for i in range(near.shape[1]):
            seen, table = own.seen[e, i], own.table[e, i]
            news, given_up = np.zeros(count, np.bool_), False
            known = table.copy()  # to the agent, or to neighbours that see the landmark
            for k in range(near.shape[2]):
                j = near[e, i, k]
                if j < 0 or not there[e, i, k]:
                    continue
                for a in range(count):
                    if seen[a] < 0:
                        continue
                    if seen[a] == said.claim[e, j]:
                        price = said.price[e, j]
                        table[a] = max(table[a], price) if news[a] else price
                        news[a] = True
                        if seen[a] == own.claim[e, i] and price > own.price[e, i]:
                            given_up = True
                    for b in range(count):
                        if seen[a] == said.seen[e, j, b]:
                            known[a] = max(known[a], said.table[e, j, b])
            if given_up:
                own.claim[e, i] = -1

            cheapest, b1, b2 = -1, np.inf, np.inf
            for a in range(count):
                if seen[a] < 0:
                    continue
                x, y = landmarks[e, i, a, 0], landmarks[e, i, a, 1]
                cost = np.sqrt(x * x + y * y)
                if seen[a] == own.claim[e, i]:
                    cost -= BONUS
                else:
                    if not news[a]:
                        table[a] = FADE * known[a]
                    cost += table[a]
                if cost < b1:
                    cheapest, b1, b2 = a, cost, b1
                elif cost < b2:
                    b2 = cost
            if cheapest < 0:
                own.claim[e, i] = -1
                continue
            if b2 == np.inf:
                b2 = b1  # there is no other landmark
            if seen[cheapest] == own.claim[e, i]:
                worth = max(b2 - (b1 + BONUS), 0.0) + STEP
                own.price[e, i] = max(worth, FADE * own.price[e, i])
            else:
                own.claim[e, i] = seen[cheapest]
                own.place[e, i] = landmarks[e, i, cheapest, :2]
                own.price[e, i] = table[cheapest] + b2 - b1 + STEP
                table[cheapest] = own.price[e, i]


class Auction:
    """The claims of one group's agents in E worlds, and their percepts. A percept is an observation
    with the own claim instead of the landmarks, and with the `companions` nearest agents only, each
    with the place that it claims."""

    def __init__(self, group: Group, config: AuctionConfig) -> None:
        """Raises ValueError if observations lack agents or landmarks."""
        self.config = config
        self._observed = group.observation_parts
        agents, landmarks = sets(group.observation_parts)
        self._names = agents.name, landmarks.name
        self._companions = min(config.companions, agents.count)
        self._vectors = 2 * agents.vectors
        self._in_view = agents.count, landmarks.count
        others = Part(agents.name, self._companions, agents.vectors + 1, agents.scalars, True)
        claim = Part("claim", 1, landmarks.vectors, landmarks.scalars, True)
        replaced = {agents.name: others, landmarks.name: claim}
        parts = tuple(replaced.get(part.name, part) for part in group.observation_parts)
        space = Box(-np.inf, np.inf, (sum(part.size for part in parts),), np.float32)
        self.group = Group(group.names, space, group.action_space, parts, group.action_parts)
        self.claims = _nothing(0, 0, 0)
        self._claimed = np.zeros((0, 0, 0, 2), np.float32)  # by companions, relative to the agent
        self._past: list[list[Said]] = []  # messages of the last steps, round by round

    def perceive(
        self,
        rows: np.ndarray,
        neighbours: Neighbours,
        begun: np.ndarray | None,
        generator: torch.Generator,
    ) -> np.ndarray:
        """[E, N, O] -> [E, N, P], as `Policy.perceive`."""
        items = pieces(self._observed, rows)
        agents, landmarks = (items[name] for name in self._names)
        if self.claims.seen.shape != landmarks.shape[:3]:
            self.claims = _nothing(*landmarks.shape[:3])
            self._claimed = np.zeros((*agents.shape[:2], self._companions, 2), np.float32)
            self._past = [[self.claims] * self.config.rounds] * self.config.message_delay
            begun = None
        if begun is None or begun.any():
            self._talk(neighbours, agents, landmarks, begun, generator)
        return self._perceived(items)

    def _talk(
        self,
        neighbours: Neighbours,
        agents: np.ndarray,
        landmarks: np.ndarray,
        begun: np.ndarray | None,
        generator: torch.Generator,
    ) -> None:
        """All rounds of a step, in the worlds where an episode has `begun` (None: in all)."""
        worlds = np.arange(len(agents)) if begun is None else np.flatnonzero(begun)
        near = neighbours.agents[:, :, : self._in_view[0]]
        there = heard(self.config, agents, generator)
        own = Said(*[x.copy() for x in self.claims])
        _look(worlds, neighbours.landmarks[:, :, : self._in_view[1]], landmarks, own)
        now: list[Said] = []
        for r in range(self.config.rounds):
            now.append(Said(*[x.copy() for x in own]))
            said = self._past[0][r] if self._past else now[r]
            _hear(worlds, near, there[r], landmarks, own, said)
        self.claims = own
        self._claimed = self._claimed.copy()
        self._claimed[worlds] = _places(agents, near, there[-1], said, self._companions)[worlds]
        if not self._past:
            return
        if begun is None:
            self._past = [*self._past[1:], now]
        else:  # the other worlds have had this step's messages already
            last = [_where(begun, new, old) for new, old in zip(now, self._past[-1], strict=True)]
            self._past = [*self._past[:-1], last]

    def _perceived(self, items: dict[str, np.ndarray]) -> np.ndarray:
        agents, landmarks = (items[name] for name in self._names)
        own, vectors = self.claims, self._vectors
        mine = (own.seen == own.claim[..., None]) & (own.claim[..., None] >= 0)
        claim = np.take_along_axis(landmarks, mine.argmax(2)[..., None, None], 2)
        others = agents[:, :, : self._companions]
        others = np.concatenate([others[..., :vectors], self._claimed, others[..., vectors:]], 3)
        replaced = dict(
            zip(self._names, (others, claim * mine.any(2)[..., None, None]), strict=True)
        )
        parts = [replaced.get(name, piece) for name, piece in items.items()]
        return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], 2)

    def reset(self, begun: np.ndarray | None) -> None:
        """Forget claims and prices in the worlds where an episode has `begun` (None: in all)."""
        if begun is None:
            self.claims = _nothing(0, 0, 0)
        elif self.claims.claim.size:
            nothing = _nothing(*self.claims.seen.shape)
            self.claims = _where(begun, nothing, self.claims)
            self._past = [[_where(begun, nothing, x) for x in step] for step in self._past]

    def state_dict(self) -> dict[str, Tensor]:
        said = {"own": self.claims}
        for t, step in enumerate(self._past):
            said |= {f"past.{t}.{r}": x for r, x in enumerate(step)}
        state = {f"{k}.{name}": x for k, v in said.items() for name, x in v._asdict().items()}
        state["claimed"] = self._claimed
        return {name: torch.from_numpy(x.copy()) for name, x in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        def said(prefix: str) -> Said:
            return Said(*[state[f"{prefix}.{name}"].numpy().copy() for name in Said._fields])

        self.claims, self._claimed = said("own"), state["claimed"].numpy().copy()
        steps, rounds = range(self.config.message_delay), range(self.config.rounds)
        self._past = []
        if self.claims.claim.size:
            self._past = [[said(f"past.{t}.{r}") for r in rounds] for t in steps]


def _where(worlds: np.ndarray, one: Said, other: Said) -> Said:
    """The messages in `one` for `worlds` (bool[E]), those in `other` elsewhere."""
    pairs = zip(one, other, strict=True)
    return Said(*[np.where(worlds.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs])


def _places(
    agents: np.ndarray, near: np.ndarray, there: np.ndarray, said: Said, count: int
) -> np.ndarray:
    """f32[E, N, count, 2]: the places that the nearest agents claim, relative to the agent. If one
    has no claim or is not heard, it is assumed to stay."""
    worlds = np.arange(len(near))[:, None, None]
    own = said.place[worlds, near[:, :, :count]]
    return agents[:, :, :count, :2] + own * there[:, :, :count, None]


class Auctions:
    """An auction in each group."""

    def __init__(self, groups: dict[str, Group], config: AuctionConfig) -> None:
        self.by_group = {g: Auction(group, config) for g, group in groups.items()}
        self.groups = {g: auction.group for g, auction in self.by_group.items()}
        self.needs = Needs(known(groups))

    def perceive(self, view: View, generator: torch.Generator) -> Arrays:
        """As `Policy.perceive`. Raises ValueError if the view has no neighbours."""
        near = told(view.neighbours)
        return {
            g: auction.perceive(view.observation[g], near[g], view.new_episode, generator)
            for g, auction in self.by_group.items()
        }

    def reset(self, begun: np.ndarray | None) -> None:
        for auction in self.by_group.values():
            auction.reset(begun)

    def state_dict(self) -> dict[str, Tensor]:
        each = self.by_group.items()
        return {f"{g}.{k}": x for g, auction in each for k, x in auction.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for g, auction in self.by_group.items():
            auction.load_state_dict(below(f"{g}.", state))


class AuctionAgent(DDPG):
    """A shared policy that moves each agent to its claim. It learns from the world's reward minus
    the distance to the claim."""

    def __init__(
        self,
        groups: dict[str, Group],
        config: AuctionConfig,
        exploration: ExplorationConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.auctions = Auctions(groups, config)
        self.needs = self.auctions.needs
        super().__init__(self.auctions.groups, config, exploration, seed)
        self.stackable = False  # each agent has an auction of its own

    def columns(self, groups: dict[str, Group]) -> Columns:
        """The standard columns, with the percept as observation."""
        return columns_of(self.groups)

    def perceive(self, view: View) -> Arrays:
        return self.auctions.perceive(view, self.generator)

    def prepare(self, g: str, batch: Batch) -> LearnerBatch:
        claim = pieces(self.groups[g].observation_parts, batch.next_observation)["claim"]
        distance = claim[..., 0, :2].square().sum(-1).sqrt()
        return super().prepare(g, replace(batch, reward=batch.reward - distance))

    def reset(self, mask: np.ndarray | None = None) -> None:
        super().reset(mask)
        self.auctions.reset(mask)

    def state_dict(self) -> dict[str, Tensor]:
        auctions = self.auctions.state_dict()
        return super().state_dict() | {f"auction.{k}": x for k, x in auctions.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.auctions.load_state_dict(below("auction.", state))
