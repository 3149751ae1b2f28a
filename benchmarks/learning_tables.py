"""The tables of benchmarks/learning.py: learning curves of two libraries in the same world."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from marl.studies.statistics import interval, mean
from marl.studies.tables import as_markdown, with_interval

Point = tuple[int, float, float]
"""Of a learning curve: env-steps, CPU seconds, the return of greedy play."""

TIME = 3  # we want a learner to need this many times less CPU time

NOTES = """
Return: rewards of an episode, without discount, mean over the agents and over 200 greedy episodes.
Mean over the seeds with its 95 % bootstrap interval; the median and the worst seed. CPU-s: of
collecting and learning on one thread, without evaluations, median. Gain: (ours - random) /
(BenchMARL's - random), where random is the return of random play: 1 is as much learned, more is
better. Ours often learns from more frames, because its frames cost little: so its gain is told at
equal frames and at equal CPU-seconds, of the library that used less; each curve counts at its last
evaluation up to there, and as random play before its first one. At equal frames ours is then in the
middle of its schedule. Aim: our mean at the end is not below BenchMARL's interval, and it took at
most a third of the CPU time."""


def up_to(curves: Sequence[Sequence[Point]], axis: int, most: float, before: float) -> np.ndarray:
    """The returns f64[R] after `most` steps (axis 0) or CPU seconds (axis 1): of the last
    evaluation up to there, or `before`."""
    known = [[point[2] for point in curve if point[axis] <= most] for curve in curves]
    return np.array([values[-1] if values else before for values in known])


def gain(ours: np.ndarray, theirs: np.ndarray, random: float) -> str:
    """How much more ours has learned than theirs, with its interval over the seeds (f64[R])."""

    def ratio(ours: np.ndarray, theirs: np.ndarray) -> float:
        return float((ours.mean() - random) / (theirs.mean() - random))

    if theirs.max() <= random:
        return "BenchMARL's is not above random"
    ends = interval(ratio, ours[:, None], theirs[:, None]) if len(ours) > 1 else None
    return with_interval(ratio(ours, theirs), ends, 2)


def reached(values: np.ndarray, seconds: np.ndarray) -> str:
    """A library's returns and CPU seconds at the end, f64[R] each."""
    ends = ends_of(values)
    text = f"{with_interval(mean(values), ends, 1)}; {np.median(values):.1f}, {values.min():.1f}"
    return f"{text}; {np.median(seconds):.0f} CPU-s"


def ends_of(values: np.ndarray) -> tuple[float, float] | None:
    """The interval of a mean over the seeds, if there are two."""
    return interval(mean, values[:, None]) if len(values) > 1 else None


def ratios(curves: Sequence[Sequence[Sequence[Point]]], random: float) -> list[str]:
    """The cells of a row for the curves of our runs and of the peer's."""
    values = [np.array([curve[-1][2] for curve in own]) for own in curves]
    ends = [[np.array([curve[-1][axis] for curve in own]) for own in curves] for axis in (0, 1)]
    equal = [
        [up_to(own, axis, min(float(np.median(x)) for x in ends[axis]), random) for own in curves]
        for axis in (0, 1)
    ]
    seconds = ends[1]
    faster = float(np.median(seconds[1]) / np.median(seconds[0]))
    low, _ = ends_of(values[1]) or (float(values[1][0]), None)
    missed = [
        what
        for what, good in (("return", values[0].mean() >= low), ("time", faster >= TIME))
        if not good
    ]
    return [
        reached(values[0], seconds[0]),
        reached(values[1], seconds[1]),
        *(gain(ours, theirs, random) for ours, theirs in equal),
        f"{faster:.1f}",
        f"missed: {', '.join(missed)}" if missed else "met",
    ]


def row_of(record: dict[str, Any], ours: str, peer: str) -> list[str]:
    """A row of the table; "-" for what is not on record."""
    runs = [list(record.get(name, {}).get("runs", {}).values()) for name in (ours, peer)]
    if all(runs):
        return [f"`{record['row']}`", *ratios(runs, record["random"])]
    cells = []
    for own in runs:
        last = np.array([curve[-1] for curve in own])
        cells.append(reached(last[:, 2], last[:, 1]) if own else "-")
    return [f"`{record['row']}`", *cells, "-", "-", "-", "-"]


def table(records: Sequence[dict[str, Any]], ours: str, peer: str) -> str:
    """The rows of one world, and what they rest on."""
    what = "return, mean [95 %]; median, worst; time"
    head = ["learner", f"{ours}: {what}", f"{peer}: {what}", "gain, equal frames"]
    head += ["gain, equal CPU-s", f"CPU-s, {peer} / {ours}", "aim"]
    lines = [as_markdown((head, [row_of(record, ours, peer) for record in records])), ""]
    for record in records:
        said = [f"random {record['random']:.1f}"] if "random" in record else []
        for name in (ours, peer):
            if runs := record.get(name, {}).get("runs"):
                frames = next(iter(runs.values()))[-1][0]
                said.append(f"{name}, {frames:,} frames, seeds {', '.join(runs)}")
        if commit := record.get(ours, {}).get("of", {}).get("commit"):
            said.append(f"commit {commit[:12]}")
        lines.append(f"- `{record['row']}`: {'; '.join(said)}.")
    return "\n".join(lines)


def page(records: Sequence[dict[str, Any]], ours: str, peer: str) -> str:
    """A table for each world with something on record."""
    parts = []
    for world in dict.fromkeys(record["world"] for record in records):
        known = [x for x in records if x["world"] == world and (ours in x or peer in x)]
        if known:
            parts.append(f"## {peer}, {world}\n\n{table(known, ours, peer)}\n")
            versions = next(
                (x[peer]["versions"] for x in known if "versions" in x.get(peer, {})), ""
            )
            parts += [f"{versions}.\n"] * bool(versions)
    return "\n".join([*parts, NOTES.strip()]) if parts else ""
