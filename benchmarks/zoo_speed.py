"""Our copies of PettingZoo's worlds beside the originals: speed, in one run.

    python benchmarks/zoo_speed.py [pistonball pursuit pictures waterworld prison cooperative_pong
                                   multiwalker] [--agents N ...] [--seconds 5]

Random actions, one thread. All but `pictures` count environment steps in a CPU second, with
everybody's observations. PettingZoo's pistonball is measured as it is played, with pictures, and
undrawn, without observations; its cooperative pong with pictures, and behind our numbers; its
multiwalker with and without its layers.
`pictures` counts pistons' views of 84 x 84 pixels in a CPU second: one picture of PettingZoo's,
made small by SuperSuit, and the last four of ours. PettingZoo has removed waterworld and prison:
`make bench-removed` gives them environments of their own, which peers/removed.py runs in.
"""

import argparse
import itertools
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pettingzoo.butterfly.cooperative_pong.cooperative_pong import parallel_env as pong
from pettingzoo.butterfly.pistonball.pistonball import parallel_env as pistonball
from pettingzoo.sisl.multiwalker.multiwalker import parallel_env as multiwalker
from pettingzoo.sisl.pursuit.pursuit import parallel_env as pursuit
from simulator import ROOT
from supersuit import color_reduction_v0, resize_v1

from marl.studies.tables import as_markdown
from marl.worlds.base import WorldConfig
from marl.worlds.pettingzoo.multiwalker import Multiwalker
from marl.worlds.pettingzoo.pong import CooperativePong
from marl.worlds.pistonball.real import RealPistonball
from marl.worlds.pistonball.world import Pistonball
from marl.worlds.prison import Prison
from marl.worlds.pursuit.world import Pursuit
from marl.worlds.waterworld.world import Waterworld

AGENTS = {
    "pistonball": (5, 20),
    "pursuit": (8,),
    "pictures": (5, 20),
    "waterworld": (5,),
    "prison": (8,),
    "cooperative_pong": (2,),
    "multiwalker": (2, 10),
}
REMOVED: dict[str, type[WorldConfig]] = {"waterworld": Waterworld, "prison": Prison}
BATCHES = (1, 64, 256, 1024)  # of our worlds
PACKAGES = ("pettingzoo", "supersuit", "pymunk", "numpy", "numba")

Advance = Callable[[], int]
"""Makes some steps of single worlds, and says how many."""


def per_second(advance: Advance, seconds: float) -> float:
    """Steps of single worlds in a CPU second."""
    advance()
    steps, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        steps += advance()
    return steps / (time.process_time() - begun)


def ours(scenario: WorldConfig, worlds: int) -> Advance:
    """Steps of so many of our worlds with random actions; each begins anew when it has ended."""
    world, rng = scenario.make_world(worlds, 0), np.random.default_rng(0)
    ((g, group),) = world.groups.items()
    given = itertools.cycle([group.random_actions(rng, worlds, len(group)) for _ in range(16)])
    world.reset()

    def advance() -> int:
        world.reset(world.step({g: next(given)}).done)
        return worlds

    return advance


def theirs(env: Any) -> Advance:
    """A step of an environment of PettingZoo with random actions."""
    env.reset(seed=0)
    spaces = {name: env.action_space(name) for name in env.possible_agents}
    for number, space in enumerate(spaces.values()):
        space.seed(number)

    def advance() -> int:
        env.step({name: spaces[name].sample() for name in env.agents})
        if not env.agents:
            env.reset()
        return 1

    return advance


def interpreter(game: str) -> Path:
    """That has a removed game."""
    return ROOT / f".venv-{game}" / "bin" / "python"


def removed(game: str, agents: int, seconds: float) -> float:
    """Steps of a game that PettingZoo has removed, in a CPU second."""
    script = ROOT / "benchmarks" / "peers" / "removed.py"
    command = [str(interpreter(game)), str(script), game, str(agents), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])  # pygame greets on the first


def speeds(what: str, agents: int, seconds: float) -> dict[str, float]:
    """By who was measured, the original first."""
    if what == "pictures":
        env = pistonball(n_pistons=agents, render_mode="rgb_array")
        small = resize_v1(color_reduction_v0(env, "full"), 84, 84)
        image = Pistonball(num_agents=agents, observe="image")
        players: dict[str, Advance] = {"PettingZoo": theirs(small), "16 worlds": ours(image, 16)}
        return {who: agents * per_second(x, seconds) for who, x in players.items()}
    if what == "cooperative_pong":
        players = {
            "PettingZoo": theirs(pong(render_mode="rgb_array")),
            "16 worlds": ours(CooperativePong(processes=0), 16),
        }
        return {who: per_second(x, seconds) for who, x in players.items()}
    if what == "multiwalker":
        players = {
            "PettingZoo": theirs(multiwalker(n_walkers=agents)),
            "16 worlds": ours(Multiwalker(num_agents=agents, processes=0), 16),
        }
        return {who: per_second(x, seconds) for who, x in players.items()}
    found: dict[str, float] = {}
    players = {}
    if what in REMOVED:
        found["PettingZoo"] = removed(what, agents, seconds)
        scenario = REMOVED[what]().with_agents(agents)
    elif what == "pistonball":
        drawn = pistonball(n_pistons=agents, render_mode="rgb_array")
        undrawn = RealPistonball(num_agents=agents)
        players = {"PettingZoo": theirs(drawn), "undrawn": ours(undrawn, 1)}
        scenario = Pistonball(num_agents=agents)
    else:
        scenario = Pursuit().with_agents(agents)
        sides = dict(zip(("x_size", "y_size"), scenario.map_size, strict=True))
        env = pursuit(n_pursuers=agents, n_evaders=scenario.evader_count, **sides)
        players = {"PettingZoo": theirs(env)}
    names = {n: f"{n} world{'s' * (n > 1)}" for n in BATCHES}
    players |= {names[n]: ours(scenario, n) for n in BATCHES}
    return found | {who: per_second(advance, seconds) for who, advance in players.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"of {', '.join(AGENTS)}")
    parser.add_argument("--agents", type=int, nargs="+", help="default: as in the docs")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options = parser.parse_args()
    if unknown := [what for what in options.what if what not in AGENTS]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(AGENTS)}")
    missing = [game for game in REMOVED if not interpreter(game).exists()]
    if wanted := [game for game in options.what if game in missing]:
        parser.error(f"{wanted[0]} needs `make bench-removed`")
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    for what in options.what or [what for what in AGENTS if what not in missing]:
        found = {n: speeds(what, n, options.seconds) for n in options.agents or AGENTS[what]}
        names = list(next(iter(found.values())))
        lines = []
        for n, by_name in found.items():
            best, original = max(by_name.values()), by_name["PettingZoo"]
            numbers = [f"{by_name[name]:.0f}" for name in names]
            lines.append([str(n), *numbers, f"{best / original:.0f}"])
        print(f"\n{what}\n{as_markdown((['agents', *names, 'best ratio'], lines))}", flush=True)


if __name__ == "__main__":
    main()
