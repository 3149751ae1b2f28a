"""A sweep that takes a moment."""

import json
import time

from tiny import write_tiny

from marl.runs.run import Run

NAMES = ["nets-8-0", "nets-8-1", "nets-4_8-0", "nets-4_8-1"]


def wait_until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def weights(names=NAMES):
    return [Run(name).weights.read_bytes() for name in names]


def write_sweep(folder, name="nets", **changed):
    """Four runs of the tiny config: two networks, two seeds."""
    sweep = {"base": str(write_tiny(folder)), "grid": {"agent.hidden": [[8], [4, 8]]}, "seeds": 2}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(sweep | changed))
    return path
