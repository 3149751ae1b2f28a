"""Records golden.npz and statistics.json beside it, from the real `waterworld_v4`.

PettingZoo 1.26 removed it. To run this, in an environment of its own: pip install
"pettingzoo==1.25.0" "pymunk<7" scipy pygame; python record.py [statistics].
"""

import json
import sys
from pathlib import Path

import numpy as np
from pettingzoo.sisl import waterworld_v4
from pettingzoo.utils.env_logger import EnvLogger

HERE = Path(__file__).parent
EDGE = 750.0  # pixels
DOCUMENTED = {
    "n_pursuers": 5, "n_coop": 2, "obstacle_radius": 0.2, "pursuer_max_accel": 0.01,
    "evader_speed": 0.01, "poison_speed": 0.01,
}  # fmt: skip
GAMES = {
    "documented": DOCUMENTED,
    "fast": {"n_pursuers": 5, "n_coop": 2, "local_ratio": 0.3, "n_poisons": 14},
    "alone": {"n_pursuers": 1, "n_coop": 1, "speed_features": False, "n_sensors": 11},
    "jostled": {**DOCUMENTED, "n_pursuers": 1, "n_poisons": 1, "n_evaders": 1},
}
# Without a step in which two agents leave one piece of food: v4 pays either of them.
SEEDS = (0, 4, 2, 3)
STEPS, EVERY = 200, 8  # of a game; states and observations are kept of every eighth
EPISODES = 40
APART = 10_000  # the worlds draw from the same kind of stream: seeds must differ


def bodies(env):
    """Positions and velocities of agents, food and poison, [B, 4], in units of the edge."""
    base = env.unwrapped.env
    moving = [*base.pursuers, *base.evaders, *base.poisons]
    return np.array([[*thing.body.position, *thing.body.velocity] for thing in moving]) / EDGE


def hunters(state, n, food, t, random):
    """All agents hunt one piece of food, another one every 30 steps, and waver."""
    target = state[n + (t // 30) % food, :2]
    way = target - state[:n, :2]
    way /= np.linalg.norm(way, axis=1, keepdims=True) + 1e-9
    way = np.clip(way + random.normal(0, 0.4, way.shape), -1, 1).astype(np.float32)
    return way.astype(float)  # in float32, v4 would round the thrust


def jostle(env, random):
    """Throw the first agent into a corner, at the obstacle or off both, inwards or outwards, so
    that it often touches them again after a step or two."""
    body = env.unwrapped.env.pursuers[0].body
    at = random.choice([0.008, 0.424, 0.1], p=[0.4, 0.2, 0.4]) + random.uniform(-0.005, 0.005, 2)
    body.position = tuple(float(x) for x in at * EDGE)
    body.velocity = tuple(float(x) for x in random.uniform(-0.06, 0.06, 2) * EDGE)


def record(name, settings, seed):
    """A game from its start: the first state, every action and reward, each new place of food or
    poison, and some states and observations."""
    env = waterworld_v4.parallel_env(max_cycles=STEPS + 1, **settings)
    env.reset(seed=seed)
    random, state = np.random.default_rng(APART + seed), bodies(env)
    n, kept = settings["n_pursuers"], {"start": state, "actions": [], "rewards": []}
    kept |= {"states": [], "observations": [], "anew": []}
    for t in range(STEPS):
        actions = hunters(state, n, env.unwrapped.env.n_evaders, t, random)
        seen, reward, *_ = env.step(dict(zip(env.agents, actions, strict=True)))
        before, state = state, bodies(env)
        jumps = np.linalg.norm(state[:, :2] - before[:, :2], axis=1) > 30 / EDGE
        kept["anew"] += [[t, body, *state[body]] for body in np.flatnonzero(jumps)]
        if name == "jostled" and t % EVERY < EVERY - 2 and t % EVERY:  # then it shows
            jostle(env, random)
            state = bodies(env)
            kept["anew"].append([t, 0, *state[0]])
        kept["actions"].append(actions)
        kept["rewards"].append([*reward.values()])
        if t % EVERY == 0:
            kept["states"].append(state)
            kept["observations"].append([*seen.values()])
    kept["anew"] = np.array(kept["anew"]).reshape(-1, 6)
    print(name, len(kept["anew"]), "begun anew; total", np.sum(kept["rewards"]))
    return {f"{name}.{what}": np.array(values) for what, values in kept.items()}


def greedy(seen, rays):
    """Thrust along the ray that senses food nearest; none where no ray does. seen [N, O]."""
    near = seen[:, 2 * rays : 3 * rays]
    angle = near.argmin(1) * (2 * np.pi / rays)
    way = np.stack([np.cos(angle), np.sin(angle)], -1) * (near.min(1) < 1)[:, None]
    return way.astype(np.float32)


def only_food(base):
    """What the greedy policy needs, in the place of all observations, which take longest."""
    rays, seen = base.n_sensors, []
    for pursuer in base.pursuers:
        row = np.ones(8 * rays + 2, np.float32)
        read = [
            pursuer.get_sensor_reading(food.body.position, food.radius, (0, 0), 1.0)[0]
            for food in base.evaders
        ]
        row[2 * rays : 3 * rays] = np.min(read, 0)[:, 0]
        seen.append(row)
    return seen


def statistics(policy, settings, episodes):
    """Mean and standard error of the total, and of all food and poison rewards, over episodes."""
    env = waterworld_v4.parallel_env(**settings)
    base = env.unwrapped.env
    n, rays = settings["n_pursuers"], base.n_sensors
    blank = [np.zeros(8 * rays + 2, np.float32)] * n
    base.observe_list = (lambda: only_food(base)) if policy == "greedy" else (lambda: blank)
    rows = []
    for seed in range(episodes):
        seen, _ = env.reset(seed=seed)
        random, row = np.random.default_rng(APART + seed), np.zeros(3)
        while env.agents:
            actions = random.uniform(-1, 1, (n, 2)).astype(np.float32)
            if policy == "still":
                actions[:] = 0
            elif policy == "greedy":
                actions = greedy(np.array([*seen.values()]), rays)
            seen, reward, *_ = env.step(dict(zip(env.agents, actions, strict=True)))
            earned = np.array(base.behavior_rewards)
            row += sum(reward.values()), np.sum(earned > 5), np.sum(np.ceil(-np.minimum(earned, 0)))
        rows.append(row)
    mean, error = np.mean(rows, 0), np.std(rows, 0, ddof=1) / episodes**0.5
    print(policy, mean, error, flush=True)
    return {"mean": mean.tolist(), "error": error.tolist()}


if __name__ == "__main__":
    if "statistics" in sys.argv:
        found = {
            policy: statistics(policy, DOCUMENTED, EPISODES)
            for policy in ("random", "still", "greedy")
        }
        (HERE / "statistics.json").write_text(json.dumps(found, indent=1) + "\n")
    else:
        golden = {}
        EnvLogger.suppress_output()  # it warns of each action that is no float32
        for seed, (name, settings) in zip(SEEDS, GAMES.items(), strict=True):
            golden |= record(name, settings, seed)
        np.savez_compressed(HERE / "golden.npz", **golden)
