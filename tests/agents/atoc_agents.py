"""What the tests of ATOC share: agents, batches, groups, and its actor by hand."""

from dataclasses import replace

import numpy as np
import torch
from agents import probes
from agents.probes import forward, layers_of
from torch import nn

from marl.agents.atoc import ATOC, ATOCConfig, choose_groups
from marl.learning.exploration import ExplorationConfig
from marl.nn.layers import StackedLSTM
from marl.testing.probes import group_of

TEAM = {"g": group_of(5, 3, 2)}
SMALL = {"hidden": (8,), "thought": 6}


def agent_of(groups=TEAM, seed=0, kind="gaussian", sigma=0.2, **settings):
    config = ATOCConfig(**SMALL | settings)
    return ATOC(groups, config, ExplorationConfig(kind=kind, sigma=sigma), seed)


def random_groups(rng, worlds, n, share=0.6, count=4, collaborators=3):
    """Groups among the nearest of n points."""
    place = rng.normal(size=(worlds, n, 2))
    distance = np.square(place[:, :, None] - place[:, None]).sum(-1)
    near = np.argsort(distance, -1)[:, :, 1 : 1 + count]
    missing = np.full((worlds, n, max(0, count - near.shape[2])), -1)
    near = np.concatenate([near, missing], -1)
    return choose_groups(rng.random((worlds, n)) < share, near, collaborators)


def batch_of(agent, rows=7, seed=0, groups=True):
    """Random steps, some agents of which communicate."""
    batch = probes.batch_of(agent.groups, rows, seed, draw="steps")
    for g, columns in [*batch.items()]:
        if groups:
            kept = random_groups(np.random.default_rng(seed), rows, len(agent.groups[g]))
            added = {"in_force": torch.from_numpy(kept.astype(np.int32))}
            batch[g] = replace(columns, added=added)
    return batch


def torch_lstm(channel, k=0):
    """PyTorch's own, with the weights of network k."""
    inputs, gates = channel.forth.weight.shape[1:]
    lstm = nn.LSTM(inputs, gates // 4, batch_first=True, bidirectional=True)
    for end, enter, again in (
        ("", channel.forth, channel.forth_again),
        ("_reverse", channel.back, channel.back_again),
    ):
        with torch.no_grad():
            getattr(lstm, f"weight_ih_l0{end}").copy_(enter.weight[k].T)
            getattr(lstm, f"weight_hh_l0{end}").copy_(again.weight[k].T)
            getattr(lstm, f"bias_ih_l0{end}").copy_(enter.bias[k, 0])
            getattr(lstm, f"bias_hh_l0{end}").zero_()
    return lstm


def one_by_one(channel, thoughts, groups, k=0):
    """Integrated thoughts of one world [N, H]: group after group, by the initiators' numbers."""
    lstm, thoughts = torch_lstm(channel, k), list(thoughts)
    heard = set()
    for row in groups:
        members = [int(j) for j in row if j >= 0]
        if members:
            answers = lstm(torch.stack([thoughts[j] for j in members])[None])[0][0]
            for j, answer in zip(members, answers, strict=True):
                thoughts[j] = answer
            heard |= set(members)
    zero = torch.zeros_like(thoughts[0])
    return torch.stack([x if j in heard else zero for j, x in enumerate(thoughts)])


def lstm_of(state, prefix):
    channel = StackedLSTM(1, 6, 6)
    channel.load_state_dict({k: state[f"{prefix}.channel.{k}"] for k in channel.state_dict()})
    return channel


def acted(state, prefix, o, groups):
    """By hand: thoughts and actions of one world, with its groups and without any."""
    thoughts = o
    for weight, bias in layers_of(state, f"{prefix}.first."):
        thoughts = thoughts @ weight + bias
        thoughts = np.where(thoughts > 0, thoughts, 0.01 * thoughts)
    with torch.no_grad():
        integrated = one_by_one(lstm_of(state, prefix), torch.from_numpy(thoughts), groups).numpy()
    second = layers_of(state, f"{prefix}.second.")
    actions = [
        np.tanh(forward(second, np.concatenate([thoughts, z], 1)))
        for z in (integrated, np.zeros_like(integrated))
    ]
    return thoughts, *actions
