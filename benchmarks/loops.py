"""Env-steps per CPU-second of training loops end to end, ours and JaxMARL's, for learning.py.

Both sides have the same network, number of worlds, rollout, epochs and minibatches, in the same
world: MPE's spread, 3 agents, 25 steps, discrete actions. Ours is `marl train` of
benchmarks/loops/NAME.json, from the first line of its log to the last; JaxMARL's is compiled as a
whole, without the time to compile (peers/training.py). They take turns.
"""

import json
import statistics
from pathlib import Path
from typing import Any

from simulator import Peer
from training import train

from marl.errors import UserError
from marl.runs.files import write_json
from marl.studies.tables import as_markdown

CONFIGS = Path(__file__).parent / "loops"
ROUNDS = 3
SECONDS = 5  # of each measurement, about
ITERATIONS = 20  # of ours in each turn
WANTED = 2  # times as fast as JaxMARL's

LOOPS: dict[str, dict[str, Any]] = {
    "ippo": {"worlds": 16, "rollout": 128, "epochs": 4, "minibatches": 4, "width": 64},
    "pqn_vdn": {"worlds": 256, "rollout": 16, "epochs": 4, "minibatches": 16, "width": 256},
}
"""JaxMARL's own settings of its baselines ippo_ff_mpe and pqn_vdn_ff_mpe."""


def run(folder: Path, python: str) -> list[str]:
    """Measure both sides of every loop that is not on record; sentences about what failed."""
    failed = []
    for name, loop in LOOPS.items():
        config, file = CONFIGS / f"{name}.json", folder / f"jaxmarl_{name}.json"
        if file.exists():
            continue
        try:
            peer = Peer("jaxmarl", python, "training.py")
            write_json(file, {"loop": loop, **measured(name, config, peer)})
        except (UserError, ImportError, OSError, RuntimeError, SystemExit) as error:
            failed.append(f"the loop {name} is left out: {error}")
    return failed


def measured(name: str, config: Path, peer: Peer) -> dict[str, Any]:
    """Env-steps per CPU-second of both sides, turn by turn."""
    loop = LOOPS[name]
    batch = loop["worlds"] * loop["rollout"]
    rates: dict[str, list[float]] = {"marl": [], "JaxMARL": []}
    for _ in range(ROUNDS):
        rates["marl"].append(train(config, [], ITERATIONS * batch))
        seconds = peer.seconds_per_step(SECONDS, learner=name, **loop)
        rates["JaxMARL"].append(batch / seconds)
    return {"versions": peer.versions, "rates": rates}


def page(folder: Path) -> str:
    """The table of what is on record."""
    head = ["loop", "marl, env-steps per CPU-s", "JaxMARL", "times as fast", "aim"]
    rows = []
    for name in LOOPS:
        file = folder / f"jaxmarl_{name}.json"
        if file.exists():
            record = json.loads(file.read_text("utf-8"))
            ours, theirs = (statistics.median(rates) for rates in record["rates"].values())
            aim = "met" if ours >= WANTED * theirs else f"missed: {WANTED} times"
            what = ", ".join(f"{key} {value}" for key, value in record["loop"].items())
            cells = [f"`{name}` ({what})", f"{ours:,.0f}", f"{theirs:,.0f}"]
            rows.append([*cells, f"{ours / theirs:.2f}", aim])
    return f"\n## JaxMARL, spread\n\n{as_markdown((head, rows))}" if rows else ""
