"""The time of one update of all N agents' networks: stacked, as in marl, and in a plain loop.

    python benchmarks/updates.py [--agents 4 12] [--batches 8 128 256 1024] [--json FILE]
    python benchmarks/updates.py --quick            a few seconds: does it run?

`Loop` has the same mathematics in the usual form: agent after agent, PyTorch's layers, one fused
Adam for each network. Both must agree on a few updates before they are timed. Times are CPU seconds
on one core and one thread. All contenders take turns several times, so other load on the machine
affects all of them. Ratios are between medians.
"""

import argparse
import copy
import importlib.metadata
import itertools
import platform
import shlex
import statistics
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from gymnasium.spaces import Box
from peers.stepping import seconds_per_step
from simulator import ROOT, Peer, Target, pin, processor, write_report
from torch import Tensor, nn
from torch.nn import functional as F

from marl.agents import REGISTRY, Agent
from marl.agents.ddpg import DDPGConfig
from marl.evaluation import one_thread
from marl.learning.record import Batch
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.spaces import Group

NAMES = ("ddpg", "maddpg")
ROUNDS = 5
UPDATES = 5  # from the same weights, after which the two must agree
TOLERANCE = 1e-5  # the most that a weight may differ

TARGETS = {
    ("ddpg", 12, 256): 2.2,
    ("maddpg", 12, 256): 2.2,
    ("ddpg", 12, 8): 5,
    ("maddpg", 12, 8): 5,
}
"""Target speeds, relative to the loop."""
PEERS = ("benchmarl",)
PEER_SIZES = {"agents": 4, "batch": 128}
PEER_OBSERVATION = 18  # numbers, in VMAS's simple_spread with 4 agents

NOTES = """
Timed: agent.update(batch) on a batch that is there: target values, critic and actor forward and
backward, Adam, target networks. Actor and critic: MLP 128, 64, 32, 32; observations as spread's
(K=3, L=4), 29 numbers. Ours also works out the statistics for the log, the loop does not.
bf16: ours, the update within torch.autocast("cpu", torch.bfloat16); for information."""


# --------------------------------------------------------------------------------- the contenders


class Ours:
    """Our agent: one update of all networks at once."""

    def __init__(self, agent: Agent, batch: Batch, bf16: bool = False) -> None:
        self.agent, self.batch, self.bf16 = agent, {"agents": batch}, bf16

    def run(self, updates: int) -> None:
        precision = torch.autocast("cpu", torch.bfloat16) if self.bf16 else nullcontext()
        for _ in range(updates):
            with precision:
                self.agent.update(self.batch)


class Loop:
    """The same updates, agent after agent."""

    def __init__(self, agent: Agent, group: Group, config: DDPGConfig, batch: Batch) -> None:
        self.config, self.batch = config, batch
        self.central = config.name == "maddpg"
        self.n = n = len(group)
        (o,), (a,) = group.observation_space.shape, group.action_space.shape
        seen = n * (o + a) if self.central else o + a
        self.actors = [mlp([o, *config.hidden, a]) for _ in range(n)]
        self.critics = [mlp([seen, *config.hidden, 1]) for _ in range(n)]
        self.load(agent)
        self.target_actors = copy.deepcopy(self.actors)
        self.target_critics = copy.deepcopy(self.critics)
        self.actor_optimisers = [adam(net, config.actor_lr) for net in self.actors]
        self.critic_optimisers = [adam(net, config.critic_lr) for net in self.critics]

    def run(self, updates: int) -> None:
        for _ in range(updates):
            self.update(self.batch)

    def update(self, batch: Batch) -> None:
        """One update of all agents; [B, N, ...]."""
        o, a, next_o = batch.observation, batch.action, batch.next_observation
        reward, terminated = batch.reward, batch.terminated
        c = self.config
        with torch.no_grad():
            next_actions = [self.target_actors[i](next_o[:, i]).tanh() for i in range(self.n)]
            next_a = torch.stack(next_actions, 1)
            future = c.gamma * (1.0 - terminated)
        if self.central:
            joint = torch.cat([o.flatten(1), a.flatten(1)], 1)
            next_joint = torch.cat([next_o.flatten(1), next_a.flatten(1)], 1)
        for i in range(self.n):
            if not self.central:
                joint = torch.cat([o[:, i], a[:, i]], 1)
                next_joint = torch.cat([next_o[:, i], next_a[:, i]], 1)
            with torch.no_grad():
                value = self.target_critics[i](next_joint)[:, 0]
                target = reward[:, i] + future[:, i] * value
            critic_loss = F.mse_loss(self.critics[i](joint)[:, 0], target)
            self.critic_optimisers[i].zero_grad()
            critic_loss.backward()
            self.critic_optimisers[i].step()

            own = self.actors[i](o[:, i]).tanh()
            start = joint.shape[1] - (self.n - i if self.central else 1) * own.shape[1]
            end = start + own.shape[1]
            actor_loss = -self.critics[i](
                torch.cat([joint[:, :start], own, joint[:, end:]], 1)
            ).mean()
            self.actor_optimisers[i].zero_grad()
            actor_loss.backward(inputs=list(self.actors[i].parameters()))
            self.actor_optimisers[i].step()
            follow(self.target_critics[i], self.critics[i], c.tau)
            follow(self.target_actors[i], self.actors[i], c.tau)

    @torch.no_grad()
    def load(self, agent: Agent) -> None:
        """Copy the agent's actors and critics."""
        for own, theirs in zip(self._parameters(), self._weights_of(agent), strict=True):
            own.copy_(theirs)

    @torch.no_grad()
    def difference(self, agent: Agent) -> float:
        """The largest difference of any weight from the agent's actors and critics."""
        pairs = zip(self._parameters(), self._weights_of(agent), strict=True)
        return max(float((own - theirs).abs().max()) for own, theirs in pairs)

    def _parameters(self) -> list[Tensor]:
        return [p for net in (*self.actors, *self.critics) for p in net.parameters()]

    def _weights_of(self, agent: Agent) -> list[Tensor]:
        """The agent's weights in the order and layout of our parameters."""
        state, found = agent.state_dict(), []
        for prefix in ("agents.actor.", "agents.critics.0."):
            stacks = {name: x for name, x in state.items() if name.startswith(prefix)}
            for i in range(self.n):
                weights = [x[i, 0] if "bias" in name else x[i].T for name, x in stacks.items()]
                if self.central and "critics" in prefix:
                    weights[0] = self._in_turn(weights[0], i)
                found += weights
        return found

    def _in_turn(self, weight: Tensor, i: int) -> Tensor:
        """The columns of critic i's first layer, from the agent's order of actions (i, i+1, ...) to
        ours (0, 1, ...)."""
        size = self.batch.observation[0].numel()
        turned = weight[:, size:].unflatten(1, (self.n, -1)).roll(i, 1).flatten(1)
        return torch.cat([weight[:, :size], turned], 1)


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of these sizes, with LeakyReLU between them."""
    layers: list[nn.Module] = [nn.Linear(sizes[0], sizes[1])]
    for inputs, outputs in itertools.pairwise(sizes[1:]):
        layers += [nn.LeakyReLU(), nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


def adam(net: nn.Module, rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), lr=rate, fused=True)


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Move a target network one step towards its source."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), rate)


# ------------------------------------------------------------------------------------ measurements


@dataclass
class Case:
    """Numbers of agents and rows in a batch, and the times of one update, turn by turn."""

    contender: str
    name: str
    agents: int
    batch: int
    seconds: list[float] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        return 1e3 * statistics.median(self.seconds)


def spread(agents: int) -> Group:
    """The group of `spread`'s agents, with default settings."""
    return Spread(num_agents=agents).groups["agents"]


def make(group: Group, config: DDPGConfig) -> Agent:
    return REGISTRY[config.name].agent({"agents": group}, config, seed=0)


def random_batch(group: Group, rows: int, seed: int = 0) -> Batch:
    """Random transitions; one in ten terminates."""
    generator = torch.Generator().manual_seed(seed)
    n, (o,), (a,) = len(group), group.observation_space.shape, group.action_space.shape
    return Batch(
        torch.randn(rows, n, o, generator=generator),
        2 * torch.rand(rows, n, a, generator=generator) - 1,
        torch.randn(rows, n, generator=generator),
        torch.randn(rows, n, o, generator=generator),
        (torch.rand(rows, n, generator=generator) < 0.1).float(),
    )


def disagreement(name: str, agents: int) -> float:
    """The difference between ours and the loop after some updates from the same weights. Targets
    move fast, so the comparison sees targets that do not move."""
    group, config = spread(agents), DDPGConfig(name=name, tau=0.5)
    agent = make(group, config)
    loop = Loop(agent, group, config, random_batch(group, 1))
    for seed in range(UPDATES):
        batch = random_batch(group, 64, seed)
        loop.update(batch)
        agent.update({"agents": batch})
    return loop.difference(agent)


def compare(name: str, agents: int, rows: int, bf16: bool, seconds: float) -> list[Case]:
    """Time ours, the loop, ours in bf16, in turn."""
    group, config = spread(agents), DDPGConfig(name=name)
    batch = random_batch(group, rows)
    runs = {
        "stacked": Ours(make(group, config), batch).run,
        "loop": Loop(make(group, config), group, config, batch).run,
    }
    if bf16:
        runs["bf16"] = Ours(make(group, config), batch, bf16=True).run
    cases = {contender: Case(contender, name, agents, rows) for contender in runs}
    for run in runs.values():
        run(2)
    for _, (contender, run) in itertools.product(range(ROUNDS), runs.items()):
        cases[contender].seconds.append(seconds_per_step(run, seconds))
    return list(cases.values())


def against(peer: Peer, seconds: float) -> list[Case]:
    """Time our MADDPG and a peer's, with equal sizes."""
    agents, rows = PEER_SIZES.values()
    observation = Box(-np.inf, np.inf, (PEER_OBSERVATION,), np.float32)
    group = Group(spread(agents).names, observation, Box(-1.0, 1.0, (2,), np.float32))
    config = DDPGConfig(name="maddpg", gradient_clip=5.0)  # they clip, too
    ours = Ours(make(group, config), random_batch(group, rows))
    ours.run(2)
    cases = [Case(contender, "maddpg", agents, rows) for contender in ("stacked", peer.name)]
    for _ in range(ROUNDS):
        cases[0].seconds.append(seconds_per_step(ours.run, seconds))
        cases[1].seconds.append(peer.seconds_per_step(seconds, **PEER_SIZES))
    return cases


def row(cases: list[Case]) -> str:
    """A row of the table."""
    time = {case.contender: case.milliseconds for case in cases}
    line = f"{cases[0].name:>8} {cases[0].agents:>7} {cases[0].batch:>7}"
    line += f"{time['stacked']:>10.2f}{time['loop']:>10.2f}{time['loop'] / time['stacked']:>8.2f}"
    if "bf16" in time:
        line += f"{time['bf16']:>10.2f}{time['loop'] / time['bf16']:>8.2f}"
    return line


def start_peers(python: str | None) -> list[Peer]:
    """The peers that this interpreter has."""
    prepared = ROOT / ".venv-peers" / "bin" / "python"
    peers = []
    for name in PEERS:
        try:
            peers.append(Peer(name, python or str(prepared), "updating.py"))
        except (ImportError, OSError, RuntimeError) as error:
            print(f"\n{name} is not available ({error}); `make bench-peers` installs it.")
    return peers


# ---------------------------------------------------------------------------------------- the run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[4, 12])
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 128, 256, 1024])
    parser.add_argument("--peers", metavar="PYTHON", help="the interpreter that has BenchMARL")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each measurement")
    parser.add_argument("--quick", action="store_true", help="two small cases, measured badly")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements here")
    args = parser.parse_args()
    if args.quick:
        args.agents, args.batches, args.seconds = [3], [8], 0.01

    pin()
    about = [
        shlex.join(["python", *sys.argv]),
        processor(),
        f"python {platform.python_version()}, torch {importlib.metadata.version('torch')}",
    ]
    print(*about, NOTES, "", sep="\n", flush=True)
    cases: list[Case] = []
    reached: list[Target] = []
    with one_thread():
        for name, agents in itertools.product(NAMES, args.agents):
            difference = disagreement(name, agents)
            print(f"{name}, N={agents}: ours and the loop differ by {difference:.1e} at most")
            if not difference < TOLERANCE:
                sys.exit(f"That is more than {TOLERANCE}: they do not compute the same.")
        print("\n          agents   batch   stacked      loop   times      bf16   times   (ms)")
        for name, agents, rows in itertools.product(NAMES, args.agents, args.batches):
            compared = compare(name, agents, rows, agents >= 12 or args.quick, args.seconds)
            print(row(compared), flush=True)
            cases += compared
            if wanted := TARGETS.get((name, agents, rows)):
                ratio = compared[1].milliseconds / compared[0].milliseconds
                text = f"{name}, N={agents}, batch {rows}, times as fast as the loop"
                reached.append(Target(text, ratio, wanted))
        for peer in [] if args.quick else start_peers(args.peers):
            compared = against(peer, args.seconds)
            cases += compared
            ours, theirs = (1e3 / case.milliseconds for case in compared)
            text = f"maddpg, N={compared[0].agents}, batch {compared[0].batch}"
            print(f"\n{text}, updates per CPU-second: ours {ours:,.0f}, {peer.name} {theirs:,.0f}")
            print(f"({peer.versions})")
            reached.append(Target(f"{text}, times as fast as {peer.name}", ours / theirs, 3))
    print("\nTargets", *reached, sep="\n")
    if args.json:
        write_report(args.json, about, cases=cases, targets=reached)


if __name__ == "__main__":
    main()
