"""Steps another library's cooperative navigation, for benchmarks/simulator.py.

    python stepping.py mpe2|vmas|jaxmarl

runs in an interpreter that has that library (marl itself is not needed). It prints
{"versions": text} or {"missing": why}; then it answers every line {"agents": N, "worlds": E,
"seconds": S} on standard input with the CPU seconds that one step of all E worlds takes.
"""

import importlib
import importlib.metadata
import json
import math
import os
import sys
import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np

EPISODE = 100  # steps
BATCHES = 16  # of random actions, drawn before the clock starts

Run = Callable[[int], object]
"""Steps all worlds that many times."""


def random_actions(low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    """Batches of uniform actions [BATCHES, *shape], which for every agent average to the middle:
    taken in random order they make a random walk, without a drift that would empty the square."""
    half = np.random.default_rng(0).uniform(low, high, (BATCHES // 2, *shape))
    return np.concatenate([half, low + high - half]).astype(np.float32)


def random_order(steps: int) -> np.ndarray:
    """Which batch of actions to take in each step."""
    return np.random.default_rng(1).integers(BATCHES, size=steps)


def seconds_per_step(run: Run, seconds: float, multiple: int = 1) -> float:
    """CPU seconds per step, over about `seconds` and a multiple of `multiple` steps."""
    steps = multiple
    while True:
        start = time.process_time()
        run(steps)
        spent = time.process_time() - start
        if spent >= 0.75 * seconds:
            return spent / steps
        steps *= math.ceil(seconds / max(spent, 1e-3))


def mpe2(agents: int, worlds: int) -> Run:
    """MPE2's simple_spread: numpy, one world, a dictionary of agents."""
    from mpe2 import simple_spread_v3

    assert worlds == 1, "MPE2 steps one world"
    env = simple_spread_v3.parallel_env(N=agents, max_cycles=EPISODE, continuous_actions=True)
    env.reset(seed=0)
    batches = random_actions(0, 1, (agents, 5))
    actions = [dict(zip(env.agents, batch, strict=True)) for batch in batches]

    def run(steps: int) -> None:
        for i in random_order(steps):
            env.step(actions[i])
            if not env.agents:
                env.reset()

    run(1)
    return run


def vmas(agents: int, worlds: int) -> Run:
    """VMAS's simple_spread: torch, eager, all worlds in one tensor."""
    import torch
    import vmas

    torch.set_num_threads(1)
    env = vmas.make_env(
        "simple_spread", worlds, device="cpu", continuous_actions=True, seed=0, n_agents=agents
    )
    env.reset()
    batches = torch.from_numpy(random_actions(-1, 1, (agents, worlds, 2)))
    actions = [list(batch) for batch in batches]
    elapsed = 0

    def run(steps: int) -> None:
        nonlocal elapsed
        for i in random_order(steps):
            env.step(actions[i])
            elapsed += 1
            if elapsed % EPISODE == 0:
                env.reset()

    run(1)
    return run


def jaxmarl(agents: int, worlds: int) -> Run:
    """JaxMARL's simple_spread: jit, vmap over the worlds, the loop over steps compiled too."""
    import jax
    import jax.numpy as jnp
    import jaxmarl

    env = jaxmarl.make(
        "MPE_simple_spread_v3",
        num_agents=agents,
        num_landmarks=agents,
        action_type="Continuous",
        max_steps=EPISODE,
    )
    batches = jnp.asarray(random_actions(0, 1, (agents, worlds, 5)))
    order = jnp.asarray(random_order(10_000))

    @jax.jit
    def advance(carry, steps):
        def one(t, carry):
            key, state, *_ = carry
            key, draw = jax.random.split(key)
            batch = batches[order[t % len(order)]]
            actions = {name: batch[i] for i, name in enumerate(env.agents)}
            keys = jax.random.split(draw, worlds)
            observation, state, reward, *_ = jax.vmap(env.step)(keys, state, actions)
            return key, state, observation, reward  # carried, or the compiler would leave them out

        return jax.lax.fori_loop(0, steps, one, carry)

    key = jax.random.PRNGKey(0)
    observation, state = jax.vmap(env.reset)(jax.random.split(key, worlds))
    carry = key, state, observation, {name: jnp.zeros(worlds) for name in env.agents}

    def run(steps: int) -> None:
        nonlocal carry
        carry = jax.block_until_ready(advance(carry, steps))

    run(1)  # compiles
    return run


Peers = dict[str, tuple[Callable[..., Run], tuple[str, ...]]]
"""How to build each peer, and the packages whose versions matter."""

PEERS: Peers = {
    "mpe2": (mpe2, ("mpe2", "numpy")),
    "vmas": (vmas, ("vmas", "torch")),
    "jaxmarl": (jaxmarl, ("jaxmarl", "jax")),
}


def serve(peers: Peers) -> None:
    """Answer every line of standard input with the time that what it asks for takes, as above."""
    peer = sys.argv[1]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        importlib.import_module(peer)
    except Exception as error:  # an import can fail in many ways
        print(json.dumps({"missing": str(error)}), file=answers)
        return
    build, packages = peers[peer]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(json.dumps({"versions": versions}), file=answers, flush=True)
    built = lru_cache(maxsize=4)(build)  # a run asks for up to three batch sizes in turn
    for line in sys.stdin:
        asked = json.loads(line)
        seconds = asked.pop("seconds")
        print(json.dumps(seconds_per_step(built(**asked), seconds)), file=answers, flush=True)


if __name__ == "__main__":
    serve(PEERS)
