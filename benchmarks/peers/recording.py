"""Records episodes of VMAS's simple_spread, with which tests/benchmarks/test_vmas_spread.py
compares benchmarks/vmas_spread.py.

    python recording.py tests/benchmarks/vmas_spread.npz

It runs in an interpreter that has VMAS. Three worlds of three agents make 20 random steps, then 20
steps towards the middle, where they push each other. The file has f32 arrays: `agents` and
`landmarks` [E, N, 2], where they start; `start` [E, N, 14], what agents then see; and, with the
steps as their first axis, `actions` [T, E, N, 2], `observation` [T, E, N, 14], `reward` [T, E, N].
"""

import sys
from typing import Any

import numpy as np
import torch
import vmas

WORLDS, STEPS = 3, 40

env = vmas.make_env("simple_spread", WORLDS, device="cpu", continuous_actions=True, seed=2)
start = env.reset()


def places(bodies: list) -> torch.Tensor:
    """[E, N, 2]"""
    return torch.stack([body.state.pos for body in bodies], 1)


record = {
    "agents": places(env.world.agents),
    "landmarks": places(env.world.landmarks),
    "start": torch.stack(start, 1),
}
steps = []
for t in range(STEPS):
    random = torch.rand(WORLDS, 3, 2) * 2 - 1
    inwards = (-2 * places(env.world.agents)).clamp(-1, 1)
    action = random if t < STEPS // 2 else inwards
    observation, reward, *_ = env.step([action[:, i] for i in range(3)])
    steps.append((action, torch.stack(observation, 1), torch.stack(reward, 1)))
for name, values in zip(
    ("actions", "observation", "reward"), zip(*steps, strict=True), strict=True
):
    record[name] = torch.stack(values)
arrays: dict[str, Any] = {name: values.numpy() for name, values in record.items()}
np.savez_compressed(sys.argv[1], **arrays)
