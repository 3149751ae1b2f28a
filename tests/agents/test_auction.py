"""Claims by auction: the protocol against a naive one, what agents perceive of it, what they learn
from."""

import itertools

import numpy as np
import pytest
import torch
from tiny import TINY, check_resumes

from marl.agents.auction import Auction, AuctionAgent, AuctionConfig
from marl.agents.core.base import View
from marl.config.parsing import parse_config, with_settings
from marl.evaluation import evaluate
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch
from marl.policies.builtin import BUILTIN
from marl.rollout import collect
from marl.testing.check_agent import check_agent
from marl.testing.probes import group_of
from marl.worlds.base import Neighbours
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld

COUNTS = (3, 4)  # of agents and landmarks in view


def world_of(n=7, worlds=3):
    return ParticleWorld(Spread(num_agents=n), worlds, seed=1)


def agent_of(groups, **settings):
    return AuctionAgent(groups, AuctionConfig(**settings), ExplorationConfig())


# ---------------------------------------------------------------------------------------- protocol


class Bidder:
    """One agent of the protocol, in plain Python: prices by landmark."""

    def __init__(self):
        self.claim, self.price, self.table, self.place = None, 0.0, {}, np.zeros(2)

    def look(self, places):
        """`places`: {landmark: where it is, relative to the agent}."""
        self.places = places
        self.table = {x: self.table.get(x, 0.0) for x in places}
        if self.claim not in places:
            self.claim = None
        self.place = places[self.claim] if self.claim is not None else np.zeros(2)

    def say(self):
        return self.claim, self.price, dict(self.table), self.place.copy()

    def hear(self, messages):
        bids, known = {}, dict(self.table)
        for claim, price, table, _ in messages:
            if claim in self.places:
                bids.setdefault(claim, []).append(price)
            for x in {*table} & {*known}:
                known[x] = max(known[x], table[x])
        for x, prices in bids.items():
            self.table[x] = max(prices)
        if max(bids.get(self.claim, [-1.0])) > self.price:
            self.claim = None
        costs = {}
        for x, place in self.places.items():
            distance = float(np.hypot(*place))
            if x == self.claim:
                costs[x] = distance - 0.1
                continue
            if x not in bids:
                self.table[x] = 0.9 * known[x]
            costs[x] = distance + self.table[x]
        if not costs:
            self.claim = None
            return
        order = sorted(costs, key=costs.get)
        best = order[0]
        second = costs[order[min(1, len(order) - 1)]]
        if best == self.claim:
            distance = float(np.hypot(*self.places[best]))
            self.price = max(max(second - distance, 0.0) + 0.05, 0.9 * self.price)
        else:
            self.claim = best
            self.price = self.table[best] + second - costs[best] + 0.05
            self.table[best] = self.price
        self.place = self.places[best]


def played_naively(world, rounds, delay, past, bidders, k, count):
    """One step of the naive protocol in every world; returns claims [E][N]."""
    near = world.neighbours(k, count)["agents"]
    agents, landmarks = world.positions()
    for e, team in enumerate(bidders):
        for i, bidder in enumerate(team):
            numbers = [x for x in near.landmarks[e, i] if x >= 0]
            bidder.look({x: landmarks[e, x] - agents[e, i] for x in numbers})
        now = []
        for r in range(rounds):
            now.append([bidder.say() for bidder in team])
            said = now[r]
            if delay:
                said = past[e][-delay][r] if len(past[e]) >= delay else None
            for i, bidder in enumerate(team):
                heard = [j for j in near.agents[e, i] if j >= 0] if said else []
                bidder.hear([said[j] for j in heard])
        past[e].append(now)
    return [[-1 if b.claim is None else b.claim for b in team] for team in bidders]


@pytest.mark.parametrize(("rounds", "delay"), [(1, 0), (3, 0), (1, 1), (2, 2)])
def test_the_protocol_is_the_naive_one(rounds, delay):
    """Round by round, over whole episodes in which agents move and worlds begin anew."""
    world = world_of()
    config = AuctionConfig(rounds=rounds, message_delay=delay)
    auction = Auction(world.groups["agents"], config)
    bidders = [[Bidder() for _ in range(7)] for _ in range(3)]
    past = [[], [], []]
    generator, rng = torch.Generator(), np.random.default_rng(0)
    observation = world.reset()
    changes, claims = 0, None
    for t in range(40):
        if t in (9, 17):
            begun = np.array([t == 9, True, False])
            observation = world.reset(begun)
            auction.reset(begun)
            near = world.neighbours(*COUNTS)["agents"]
            auction.perceive(observation["agents"], near, begun, generator)
            fresh = [[Bidder() for _ in range(7)] for _ in range(3)]
            bidders = [new if b else old for new, old, b in zip(fresh, bidders, begun, strict=True)]
            past = [[] if b else old for old, b in zip(past, begun, strict=True)]
            only = [e for e in range(3) if begun[e]]
            part = Part(world, only)
            played_naively(part, rounds, delay, [past[e] for e in only],
                           [bidders[e] for e in only], 3, 4)  # fmt: skip
        else:
            near = world.neighbours(*COUNTS)["agents"]
            auction.perceive(observation["agents"], near, None, generator)
            played_naively(world, rounds, delay, past, bidders, 3, 4)
        own = auction.claims
        for e, i in np.ndindex(3, 7):
            bidder = bidders[e][i]
            assert own.claim[e, i] == (-1 if bidder.claim is None else bidder.claim), (t, e, i)
            assert own.price[e, i] == pytest.approx(bidder.price, abs=1e-5)
            np.testing.assert_allclose(own.place[e, i], bidder.place, atol=1e-6)
            for x, price in zip(own.seen[e, i], own.table[e, i], strict=True):
                assert x < 0 or price == pytest.approx(bidder.table[x], abs=1e-5)
        changes += 0 if claims is None else (own.claim != claims).sum()
        claims = own.claim.copy()
        actions = rng.uniform(-1, 1, (3, 7, 2)).astype(np.float32)
        observation = world.step({"agents": actions}).observation
    assert changes > 20


class Part:
    """Some of a world's worlds."""

    def __init__(self, world, only):
        self.world, self.only = world, only

    def positions(self):
        return tuple(x[self.only] for x in self.world.positions())

    def neighbours(self, *counts):
        return {g: Neighbours(*[x[self.only] for x in near])
                for g, near in self.world.neighbours(*counts).items()}  # fmt: skip


def test_two_bidders_by_hand():
    """Both want the landmark between them; who loses less by going elsewhere does."""
    world = world_of(2, 1)
    world.reset()
    at = np.array([[[0.0, 0], [1, 0]]])
    observation = world.set_state(at, 0 * at, np.array([[[0.4, 0], [2, 0]]]))
    auction = Auction(world.groups["agents"], AuctionConfig())
    near, generator = world.neighbours(3, 4)["agents"], torch.Generator()
    expected = [
        ([0, 0], [1.65, 0.45]),
        ([0, 1], [1.65, 1.30]),  # 0.6 + 1.65 - 1.0 + 0.05
        ([0, 1], [2.95, 1.30]),  # 2 + 1.3 - 0.4 + 0.05
    ]
    for claims, prices in expected:
        auction.perceive(observation["agents"], near, None, generator)
        assert auction.claims.claim[0].tolist() == claims
        np.testing.assert_allclose(auction.claims.price[0], prices, atol=1e-6)


def test_claims_cover_what_greed_does_not():
    """Without any learning: a PD controller that goes where it has claimed."""
    world = Spread(integration="semi_implicit", num_perceived_agents=7, num_perceived_landmarks=8)
    claimed, greedy = (
        evaluate(BUILTIN[name], world, 12, 20, 0)["coverage"] for name in ("auction", "greedy")
    )
    assert claimed > 0.95
    assert greedy < 0.6


# ----------------------------------------------------------------------------------------- hearing


@pytest.mark.parametrize("settings", [{"message_loss": 1.0}, {"hearing_radius": 0.0}])
def test_who_hears_nobody_claims_the_nearest(settings):
    world = world_of()
    agent = agent_of(world.groups, rounds=2, **settings)
    for turn in itertools.islice(collect(world, agent), 5):
        rows = turn.transition.observation["agents"]
        nearest = turn.step.observation["agents"][..., -12:-10]  # of the next step, as its claim
        claim = turn.transition.next_observation["agents"][..., -3:-1]
        np.testing.assert_array_equal(claim, nearest)
        others = rows[..., 2:-3].reshape(3, 7, 3, 7)
        np.testing.assert_array_equal(others[..., 4:6], others[..., :2])  # they seem to stay


def test_losing_some_messages_is_between_all_and_none():
    def heard_by(settings):
        world = world_of(30, 2)
        agent = agent_of(world.groups, **settings)
        turns = list(itertools.islice(collect(world, agent), 20))
        others = np.stack([turn.transition.observation["agents"] for turn in turns[1:]])
        others = others[..., 2:-3].reshape(-1, 3, 7)
        return (others[..., 4:6] != others[..., :2]).any(-1).mean()

    assert heard_by({}) > 0.99  # few have just lost their claim out of sight
    assert heard_by({"message_loss": 0.3}) == pytest.approx(0.7, abs=0.03)
    assert 0.05 < heard_by({"hearing_radius": 0.4}) < 0.9


# -------------------------------------------------------------------------------------- perceiving


def test_what_is_perceived():
    """Oneself; the nearest with what they claim, and their own claim in the landmarks' place."""
    world = world_of()
    agent = agent_of(world.groups, companions=2)
    assert agent.needs.neighbours == COUNTS
    (size,) = agent.columns(world.groups)["agents"]["observation"].shape
    assert size == 2 + 2 * 7 + 3
    observation = world.reset()
    for _ in range(6):
        near = world.neighbours(3, 4)
        before = [x.copy() for x in agent.auctions.by_group["agents"].claims]
        rows = agent.perceive(View(observation, None, near))["agents"]
        observed, numbers = observation["agents"], near["agents"].agents
        claims = agent.auctions.by_group["agents"].claims.claim
        positions, landmarks = world.positions()
        np.testing.assert_array_equal(rows[..., :2], observed[..., :2])
        others = rows[..., 2:16].reshape(3, 7, 2, 7)
        items = observed[..., 2:17].reshape(3, 7, 3, 5)[:, :, :2]
        np.testing.assert_array_equal(others[..., :4], items[..., :4])
        np.testing.assert_array_equal(others[..., 6], items[..., 4])
        for e, i in np.ndindex(3, 7):
            own = landmarks[e, claims[e, i]] - positions[e, i]
            np.testing.assert_allclose(rows[e, i, 16:], [*own, 1], atol=1e-6)
            for k, j in enumerate(numbers[e, i, :2]):
                said = before[1][e, j] if before[0].size else np.zeros(2)
                if before[0].size and before[0][e, j] >= 0:  # what it claimed, from where it is now
                    said = landmarks[e, before[0][e, j]] - positions[e, j]
                    if before[0][e, j] not in near["agents"].landmarks[e, j]:
                        said = np.zeros(2)  # out of its view
                place = positions[e, j] - positions[e, i] + said
                np.testing.assert_allclose(others[e, i, k, 4:6], place, atol=1e-6)
        actions = {"agents": np.full((3, 7, 2), 0.3, np.float32)}
        observation = world.step(actions).observation


def test_new_episodes_leave_the_other_worlds_alone():
    world = world_of(worlds=4)
    agent = agent_of(world.groups, message_delay=1)
    list(itertools.islice(collect(world, agent), 5))
    observation = world.reset(np.zeros(4, bool))
    before = agent.perceive(View(observation, np.zeros(4, bool), world.neighbours(*COUNTS)))
    begun = np.array([False, True, False, True])
    observation = world.reset(begun)
    agent.reset(begun)
    after = agent.perceive(View(observation, begun, world.neighbours(*COUNTS)))
    same = (before["agents"] == after["agents"]).all((1, 2))
    assert same.tolist() == [True, False, True, False]


def test_worlds_without_sets_are_refused():
    with pytest.raises(ValueError, match="two masked parts"):
        agent_of({"g": group_of(2, 3, 2)})
    world = world_of()
    with pytest.raises(ValueError, match="who is near whom"):
        agent_of(world.groups).perceive(View(world.reset()))


# ---------------------------------------------------------------------------------------- learning


def test_the_reward_is_the_worlds_less_the_distance_to_the_claim():
    world = world_of()
    agent = agent_of(world.groups)
    turns = list(itertools.islice(collect(world, agent, explore=True), 4))
    transition = turns[-1].transition
    batch = [
        torch.from_numpy(x["agents"].reshape(21, 1, *x["agents"].shape[2:]).astype(np.float32))
        for x in transition[:5]
    ]
    rows = agent.prepare("agents", Batch(*batch))
    claims = agent.auctions.by_group["agents"].claims.claim
    agents, landmarks = world.positions()
    for e, i in np.ndindex(3, 7):
        distance = np.hypot(*(landmarks[e, claims[e, i]] - agents[e, i]))
        expected = transition.reward["agents"][e, i] - distance
        assert float(rows.reward[0, 7 * e + i, 0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("settings", [{"network": "set", "augment": True}, {"rounds": 2}])
def test_check_agent(settings):
    groups = Spread(num_agents=5).groups
    check_agent(lambda: agent_of(groups, **settings), groups)


def test_weights_from_four_agents_act_for_any_number():
    agent = agent_of(world_of(4).groups, network="set")
    for n in (1, 80):
        world = world_of(n, 1)
        other = agent_of(world.groups, network="set")
        other.load_weights(agent.weights())
        actions = next(collect(world, other)).transition.action["agents"]
        assert actions.shape == (1, n, 2)
        assert np.isfinite(actions).all()


@pytest.mark.parametrize("name", ["auction", "messages"])
def test_stopped_and_resumed_ends_as_uninterrupted(data, monkeypatch, name):
    """In the middle of an episode, with messages under way and others lost."""
    settings = [f"agent.name={name}", "agent.message_delay=1", "agent.message_loss=0.2"]
    world = {**TINY["world"], "num_perceived_agents": 2}
    plain = {**TINY, "world": world, "agent": {"rounds": 2}}
    config = parse_config(with_settings(plain, [*settings, "training.steps=240"]))
    check_resumes(config, monkeypatch, 160 + 4)
