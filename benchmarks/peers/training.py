"""Times whole training loops in JaxMARL's spread, for benchmarks/learning.py.

    python training.py jaxmarl

It runs in an interpreter that has JaxMARL. As stepping.py it prints its versions, then answers each
line {"learner": "ippo" or "pqn_vdn", "worlds": E, "rollout": T, "epochs": K, "minibatches": M,
"width": W, "seconds": S} with the CPU seconds of one iteration: E worlds make T steps, then K
epochs of M minibatches. Compiling is not timed.

JaxMARL's package has the worlds (MPE_simple_spread_v3, 3 agents, discrete actions) and not its
baselines. So the learners are written here, after their descriptions (PPO: Schulman et al. 2017,
1707.06347, with parameters shared by the agents; parallelised Q-networks with the sum of VDN:
Gallici et al. 2024, 2407.04811), as a pure function that is compiled as a whole, as JaxMARL's are.
Both have two hidden layers of W; PPO has an actor and a critic of its own each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from stepping import Run, serve

GAMMA = {"ippo": 0.99, "pqn_vdn": 0.9}
LAMBDA = {"ippo": 0.95, "pqn_vdn": 0.3}
RATE = {"ippo": 2.5e-4, "pqn_vdn": 5e-4}
LARGEST_NORM = {"ippo": 0.5, "pqn_vdn": 1.0}
CLIP, ENTROPY, VALUE = 0.2, 0.01, 0.5
EPSILON = 0.1
MOVES = 5


def perceptron(key: Any, sizes: list[int], norm: bool) -> list[dict[str, Any]]:
    """The weights of dense layers; `norm`: layer normalisation in the hidden ones."""
    import jax
    import jax.numpy as jnp

    layers: list[dict[str, Any]] = []
    for own, one, other in zip(jax.random.split(key, len(sizes)), sizes, sizes[1:], strict=False):
        weights = jax.random.normal(own, (one, other)) / one**0.5
        layer = {"weights": weights, "bias": jnp.zeros(other)}
        if norm and len(layers) < len(sizes) - 2:
            layer |= {"scale": jnp.ones(other), "shift": jnp.zeros(other)}
        layers.append(layer)
    return layers


def forward(layers: list[dict[str, Any]], x: Any, activation: Callable) -> Any:
    """The outputs of the perceptron."""
    for number, layer in enumerate(layers):
        x = x @ layer["weights"] + layer["bias"]
        if "scale" in layer:
            centred = x - x.mean(-1, keepdims=True)
            x = centred / ((centred**2).mean(-1, keepdims=True) + 1e-6) ** 0.5
            x = x * layer["scale"] + layer["shift"]
        if number < len(layers) - 1:
            x = activation(x)
    return x


def returns(reward: Any, done: Any, value: Any, last: Any, gamma: float, lam: float) -> Any:
    """Lambda returns [T, ...] of rewards, ends of episodes and values [T, ...], and the value after
    the last step."""
    import jax
    import jax.numpy as jnp

    def back(carry: Any, step: Any) -> Any:
        following, next_value = carry
        reward, done, value = step
        mixed = lam * following + (1 - lam) * next_value
        target = reward + gamma * (1 - done) * mixed
        return (target, value), target

    start = (last, last)
    _, targets = jax.lax.scan(back, start, (reward, jnp.float32(done), value), reverse=True)
    return targets


class Ippo:
    """Clipped policy gradients, for every agent by itself."""

    def weights(self, key: Any, inputs: int, width: int) -> Any:
        import jax

        one, other = jax.random.split(key)
        hidden = [inputs, width, width]
        actor, critic = (
            perceptron(one, [*hidden, MOVES], False),
            perceptron(other, [*hidden, 1], False),
        )
        return {"actor": actor, "critic": critic}

    def act(self, weights: Any, key: Any, seen: Any) -> tuple[Any, dict[str, Any]]:
        """Choices [E, N] for what agents see [E, N, O], and what learning needs of them."""
        import jax

        logits, value = self.outputs(weights, seen)
        chosen = jax.random.categorical(key, logits)
        return chosen, {"likely": _of(jax.nn.log_softmax(logits), chosen), "value": value}

    def outputs(self, weights: Any, seen: Any) -> tuple[Any, Any]:
        import jax.numpy as jnp

        value = forward(weights["critic"], seen, jnp.tanh)[..., 0]
        return forward(weights["actor"], seen, jnp.tanh), value

    def prepare(self, weights: Any, steps: dict[str, Any], seen: Any) -> dict[str, Any]:
        """The rows to learn from, [T * E * N, ...], once the targets are known."""
        import jax

        _, last = self.outputs(weights, seen)
        done = steps.pop("done")[..., None].repeat(last.shape[-1], -1)
        target = returns(
            steps.pop("reward"), done, steps["value"], last, GAMMA["ippo"], LAMBDA["ippo"]
        )
        rows = {**steps, "target": target}
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), rows)

    def loss(self, weights: Any, rows: dict[str, Any]) -> Any:
        import jax
        import jax.numpy as jnp

        logits, value = self.outputs(weights, rows["seen"])
        likely = jax.nn.log_softmax(logits)
        advantage = rows["target"] - rows["value"]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        ratio = jnp.exp(_of(likely, rows["chosen"]) - rows["likely"])
        bounded = jnp.clip(ratio, 1 - CLIP, 1 + CLIP)
        gain = jnp.minimum(ratio * advantage, bounded * advantage).mean()
        near = rows["value"] + jnp.clip(value - rows["value"], -CLIP, CLIP)
        errors = jnp.maximum((value - rows["target"]) ** 2, (near - rows["target"]) ** 2)
        entropy = -(jnp.exp(likely) * likely).sum(-1).mean()
        return VALUE * errors.mean() / 2 - gain - ENTROPY * entropy


class PqnVdn:
    """Q-learning of the agents' sum, without replay and without target networks."""

    def weights(self, key: Any, inputs: int, width: int) -> Any:
        return perceptron(key, [inputs, width, width, MOVES], True)

    def act(self, weights: Any, key: Any, seen: Any) -> tuple[Any, dict[str, Any]]:
        import jax
        import jax.numpy as jnp

        q = forward(weights, seen, jax.nn.relu)
        which, what = jax.random.split(key)
        wild = jax.random.uniform(which, q.shape[:-1]) < EPSILON
        chosen = jnp.where(wild, jax.random.randint(what, wild.shape, 0, MOVES), q.argmax(-1))
        return chosen, {"value": q.max(-1).sum(-1)}

    def prepare(self, weights: Any, steps: dict[str, Any], seen: Any) -> dict[str, Any]:
        """The rows to learn from, [T * E, N, ...]."""
        import jax

        last = forward(weights, seen, jax.nn.relu).max(-1).sum(-1)
        reward, gamma, lam = steps.pop("reward").sum(-1), GAMMA["pqn_vdn"], LAMBDA["pqn_vdn"]
        target = returns(reward, steps.pop("done"), steps.pop("value"), last, gamma, lam)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), {**steps, "target": target})

    def loss(self, weights: Any, rows: dict[str, Any]) -> Any:
        import jax

        q = _of(forward(weights, rows["seen"], jax.nn.relu), rows["chosen"])
        return ((q.sum(-1) - rows["target"]) ** 2).mean()


LEARNERS: dict[str, Any] = {"ippo": Ippo(), "pqn_vdn": PqnVdn()}


def _of(values: Any, chosen: Any) -> Any:
    """The value of each choice."""
    import jax.numpy as jnp

    return jnp.take_along_axis(values, chosen[..., None], -1)[..., 0]


def jaxmarl(
    learner: str, worlds: int, rollout: int, epochs: int, minibatches: int, width: int
) -> Run:
    """The whole loop as one compiled function."""
    import jax
    import jax.numpy as jnp
    import jaxmarl
    import optax

    env = jaxmarl.make("MPE_simple_spread_v3", max_steps=25)
    names, rule = env.agents, LEARNERS[learner]
    clip = optax.clip_by_global_norm(LARGEST_NORM[learner])
    adam = optax.chain(clip, {"ippo": optax.adam, "pqn_vdn": optax.radam}[learner](RATE[learner]))

    def seen_by_all(observation: Any) -> Any:
        """[E, N, O + N]: every agent also sees which one it is, as in JaxMARL's Q-learners."""
        seen = jnp.stack([observation[name] for name in names], 1)
        if learner == "ippo":
            return seen
        number = jnp.broadcast_to(jnp.eye(len(names)), (*seen.shape[:2], len(names)))
        return jnp.concatenate([seen, number], -1)

    def step(weights: Any, carry: Any, _: Any) -> Any:
        key, state, seen = carry
        key, acting, moving = jax.random.split(key, 3)
        chosen, more = rule.act(weights, acting, seen)
        moves = {name: chosen[:, i] for i, name in enumerate(names)}
        keys = jax.random.split(moving, worlds)
        observation, state, reward, done, _ = jax.vmap(env.step)(keys, state, moves)
        own = {
            "seen": seen,
            "chosen": chosen,
            "reward": jnp.stack([reward[name] for name in names], 1),
            "done": done["__all__"],
            **more,
        }
        return (key, state, seen_by_all(observation)), own

    def learn(carry: Any, rows: Any) -> Any:
        weights, moments = carry
        gradients = jax.grad(rule.loss)(weights, rows)
        changes, moments = adam.update(gradients, moments, weights)
        return (optax.apply_updates(weights, changes), moments), None

    def epoch(rows: Any, carry: Any, key: Any) -> Any:
        order = jax.random.permutation(key, len(rows["target"])).reshape(minibatches, -1)
        return jax.lax.scan(
            lambda c, own: learn(c, jax.tree.map(lambda x: x[own], rows)), carry, order
        )

    def iteration(_: Any, carry: Any) -> Any:
        (weights, moments), playing = carry
        playing, steps = jax.lax.scan(partial(step, weights), playing, None, rollout)
        key, *own = jax.random.split(playing[0], 1 + epochs)
        rows = rule.prepare(weights, steps, playing[2])
        learned, _ = jax.lax.scan(partial(epoch, rows), (weights, moments), jnp.stack(own))
        return learned, (key, *playing[1:])

    key, start, first = jax.random.split(jax.random.PRNGKey(0), 3)
    observation, state = jax.vmap(env.reset)(jax.random.split(start, worlds))
    seen = seen_by_all(observation)
    weights = rule.weights(first, seen.shape[-1], width)
    carry = (weights, adam.init(weights)), (key, state, seen)
    advance = jax.jit(lambda carry, count: jax.lax.fori_loop(0, count, iteration, carry))

    def run(iterations: int) -> None:
        nonlocal carry
        carry = jax.block_until_ready(advance(carry, iterations))

    run(1)  # compiles
    return run


PEERS = {"jaxmarl": (jaxmarl, ("jaxmarl", "jax", "optax"))}
"""How to build each peer, and the packages whose versions matter."""


if __name__ == "__main__":
    serve(PEERS)
