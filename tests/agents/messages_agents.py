"""What the tests of learned messages share: worlds, agents, and the actor by hand."""

import torch
from torch.nn import functional as F

from marl.agents.messages import MessagesAgent, MessagesConfig
from marl.learning.exploration import ExplorationConfig
from marl.nn.sets import SHARPNESS
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld


def world_of(n=5, worlds=2):
    return ParticleWorld(Spread(num_agents=n), worlds, seed=1)


def agent_of(groups, sigma=0.2, seed=0, **settings):
    config = MessagesConfig(**{"width": 12, "memory": 4, **settings})
    return MessagesAgent(groups, config, ExplorationConfig(sigma=sigma), seed)


def lively(agent):
    """Weights that matter from the start."""
    for learner in agent.learners.values():
        for network in (learner.actor, learner.greedy):
            generator = torch.Generator().manual_seed(3)
            with torch.no_grad():
                for p in network.parameters():
                    p.copy_(torch.randn(p.shape, generator=generator) / p.shape[-2] ** 0.5)
    return agent


def known(agent):
    """Memory and claim, [E, N, M + 1]."""
    return agent.state_dict()["known.agents"].numpy()


def affine(layer, x):
    y = x @ layer.weight[0].double()
    return y if layer.bias is None else y + layer.bias[0, 0].double()


def acted_naively(actor, observation, near, seen, memory, claim, rounds):
    """All rounds for one world, agent by agent, landmark by landmark. observation [N, O] of Spread
    with three agents and four landmarks in view."""
    rows = torch.as_tensor(observation, dtype=torch.float64)
    n = len(rows)
    for _ in range(rounds):
        before = [(memory[i], claim[i]) for i in range(n)]
        memory, claim, outputs = [], [], []
        for i in range(n):
            own = torch.cat([rows[i, :2], before[i][0]])
            agents, landmarks = rows[i, 2:17].view(3, 5), rows[i, 17:29].view(4, 3)
            tokens, scores, items = [], [], []
            for a in range(4):
                if landmarks[a, 2] == 0:
                    continue
                item = torch.cat([landmarks[a], landmarks[a, :2].norm()[None]])
                pairs = []
                for k in range(3):
                    j = int(near[i, k])
                    if agents[k, 4] == 0:
                        continue
                    said, goal = before[j] if j >= 0 else (torch.zeros(4).double(), None)
                    other = torch.cat([agents[k], agents[k, :2].norm()[None], said])
                    gap = (landmarks[a, :2] - agents[k, :2]).norm()
                    both = torch.stack([gap, torch.tensor(float(goal == seen[i, a])).double()])
                    pairs.append(
                        affine(actor.pair_landmark, item)
                        + affine(actor.pair_agent, other)
                        + affine(actor.pair_both, both)
                    )
                pair = torch.zeros(12).double()
                if pairs:
                    pair = F.relu(torch.stack(pairs).amax(0))
                mine = torch.tensor([float(before[i][1] == seen[i, a])]).double()
                token = F.relu(affine(actor.token, torch.cat([item, own, pair, mine])))
                tokens.append(token)
                items.append(item)
                scores.append(SHARPNESS * affine(actor.score, token)[0])
            weights = torch.stack(scores).softmax(0)
            picked = (weights[:, None] * torch.stack(items)).sum(0)
            z = torch.cat([own, picked, torch.stack(tokens).amax(0)])
            keep, new = affine(actor.write, z).chunk(2)
            keep = keep.sigmoid()
            memory.append(keep * before[i][0] + (1 - keep) * new.tanh())
            claim.append(int(seen[i, int(torch.stack(scores).argmax())]))
            direct = affine(actor.direct, torch.cat([rows[i, :2], picked]))
            hidden = F.relu(affine(actor.trunk, z))
            outputs.append((affine(actor.output, hidden) + direct).tanh())
    return torch.stack(outputs), memory, claim
