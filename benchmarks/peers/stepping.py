"""Steps another library's MPE scenarios, for benchmarks/simulator.py.

    python stepping.py mpe2|vmas|jaxmarl

It runs in an interpreter that has that library, without marl. It prints {"versions": text} or
{"missing": why}. Then it answers each line {"scenario": NAME, "worlds": E, "seconds": S} on
standard input with the CPU seconds of one step of all E worlds, or with {"failed": why}. "agents":
N sets the number of agents of `spread`; other scenarios have their defaults.
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
from typing import Any

import numpy as np

EPISODE = 100  # steps
BATCHES = 16  # of random actions, drawn before the clock starts

Run = Callable[[int], object]
"""Steps all worlds that many times."""


def random_actions(space: Any, *worlds: int, rng: np.random.Generator) -> np.ndarray:
    """Batches of uniform actions [BATCHES, *worlds, *shape]. Each agent's mean is the middle of the
    space (Box), so in random order they make a random walk without drift, which would empty the
    square."""
    size = (BATCHES // 2, *worlds, *space.shape)
    half = rng.uniform(space.low, space.high, size)
    return np.concatenate([half, space.low + space.high - half]).astype(np.float32)


def random_order(steps: int) -> np.ndarray:
    """The batch of actions for each step."""
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


def mpe_name(scenario: str) -> str:
    """MPE's name of our scenario."""
    return scenario if scenario == "simple" else f"simple_{scenario}"


def versioned(scenario: str) -> str:
    """The name with the version that all of MPE's scenarios have."""
    return f"{mpe_name(scenario)}_v{4 if scenario == 'speaker_listener' else 3}"


def mpe2(scenario: str, worlds: int, agents: int | None = None) -> Run:
    """MPE2: numpy, one world, a dictionary of agents."""
    assert worlds == 1, "MPE2 steps one world"
    module = importlib.import_module(f"mpe2.{versioned(scenario)}")
    options = {"N": agents} if agents else {}
    env = module.parallel_env(max_cycles=EPISODE, continuous_actions=True, **options)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    drawn = [random_actions(env.action_space(name), rng=rng) for name in env.agents]
    actions = [dict(zip(env.agents, batch, strict=True)) for batch in zip(*drawn, strict=True)]

    def run(steps: int) -> None:
        for i in random_order(steps):
            env.step(actions[i])
            if not env.agents:
                env.reset()

    run(1)
    return run


def vmas(scenario: str, worlds: int, agents: int | None = None) -> Run:
    """VMAS: torch, eager, all worlds in one tensor."""
    import torch
    import vmas

    torch.set_num_threads(1)
    options = {"n_agents": agents} if agents else {}
    env = vmas.make_env(
        mpe_name(scenario), worlds, device="cpu", continuous_actions=True, seed=0, **options
    )
    env.reset()
    rng = np.random.default_rng(0)
    spaces = env.action_space
    drawn = [torch.from_numpy(random_actions(space, worlds, rng=rng)) for space in spaces]
    actions = [list(batch) for batch in zip(*drawn, strict=True)]
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


def jaxmarl(scenario: str, worlds: int, agents: int | None = None) -> Run:
    """JaxMARL: jit, vmap over the worlds, the loop over steps compiled too."""
    import jax
    import jax.numpy as jnp
    import jaxmarl

    options = {"num_agents": agents, "num_landmarks": agents} if agents else {}
    name = f"MPE_{versioned(scenario)}"
    env = jaxmarl.make(name, action_type="Continuous", max_steps=EPISODE, **options)
    rng = np.random.default_rng(0)
    batches = {
        name: jnp.asarray(random_actions(env.action_space(name), worlds, rng=rng))
        for name in env.agents
    }
    order = jnp.asarray(random_order(10_000))

    def one(t, carry):
        key, state, *_ = carry
        key, draw = jax.random.split(key)
        which = order[t % len(order)]
        actions = {name: drawn[which] for name, drawn in batches.items()}
        keys = jax.random.split(draw, worlds)
        observation, state, reward, *_ = jax.vmap(env.step)(keys, state, actions)
        return key, state, observation, reward  # carried, or the compiler would leave them out

    @jax.jit
    def advance(carry, steps):
        return jax.lax.fori_loop(0, steps, one, carry)

    key = jax.random.PRNGKey(0)
    _, state = jax.vmap(env.reset)(jax.random.split(key, worlds))
    carry = jax.jit(one)(0, (key, state))  # what a step carries has other types than a reset

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
    """Answer each line of standard input with the time of a step, as above."""
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
    built = lru_cache(maxsize=4)(build)  # a run asks for up to four batch sizes in turn
    for line in sys.stdin:
        asked = json.loads(line)
        seconds = asked.pop("seconds")
        answer: float | dict[str, str]
        try:
            answer = seconds_per_step(built(**asked), seconds)
        except Exception as error:  # nor do we know what a library's scenario may raise
            first_line = str(error).partition("\n")[0]
            answer = {"failed": f"{type(error).__name__}: {first_line}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(PEERS)
