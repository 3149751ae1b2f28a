"""How do policies that trained with few agents play with thousands, and why?

    python benchmarks/scaling.py [--page] [--text benchmarks/scaling.md] [--out docs/scaling.md]

Trains the sweeps that the text names (`marl sweep experiments/NAME.json`; what is finished is not
trained again, what was interrupted goes on), measures them (as `marl scale` does; what was measured
is kept in data/measurements), and writes the text with the tables and plots that it asks for, as

    <!-- table: coverage of silent auction with 4 80 1000 agents, agent.message_loss=0.1 -->

where `coverage` is one of the names in TABLES (`plot`: in PLOTS), `silent` and `auction` are
sweeps, and settings are those of `marl scale`. "agents at length" plays more episodes.
"""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from commands import marl

from marl.runs.curves import png
from marl.runs.files import whole_file
from marl.runs.log import read_log
from marl.runs.run import Run
from marl.studies import scale
from marl.studies.scale import ORACLE, Summary
from marl.studies.scale_page import ScaleStudy, cell
from marl.studies.tables import Table, as_markdown

METRIC = "coverage"
AGENTS_WORTH = 4_000  # episodes times agents, for each seed and number of agents: 20 000 by five
AT_LENGTH = (20, 1_000)  # at least so many episodes up to so many agents, where the text wants it
MEMORY_FROM = 10_000  # agents that are measured alone in a process, so that its memory can be told
REQUEST = re.compile(
    r"<!-- (table|plot): ([\w-]+) of ([\w -]+) with ([\d ]+) agents"
    r"( at length)?(?:, (.+))? -->"
)


def study(
    names: Sequence[str], agents: Sequence[int], settings: Sequence[str], at_length: bool
) -> ScaleStudy:
    """Measurements of these policies with these numbers of agents, and of the yardsticks, unless
    settings of trained agents change."""
    entries, left_out = scale.with_yardsticks(names, settings)
    for sentence in left_out:
        print(sentence, flush=True)
    changed = any(setting.startswith("agent.") for setting in settings)
    entries = [entry for entry in entries if not (entry.yardstick and changed)]
    seed = scale.default_seed(entries)
    for n in agents:
        least, up_to = AT_LENGTH if at_length else (1, 0)
        episodes = max(-(-AGENTS_WORTH // n), least if n <= up_to else 1)
        workers = os.cpu_count() or 1
        alone = n >= MEMORY_FROM
        for what in scale.measure(entries, [n], episodes, seed, workers, settings, alone):
            print(what, flush=True)
    return ScaleStudy("scaling", entries, METRIC)


# ------------------------------------------------------------------------------------------ tables


def median_and_worst(name: str) -> Callable[[ScaleStudy], Table]:
    """The median over seeds of a metric; for the first metric also the worst seed."""

    def said(summary: Summary) -> str:
        worst = f" ({summary.worst:.3f})" if name == METRIC and summary.seeds > 1 else ""
        return cell(summary, name, interval=False) + worst

    return lambda found: found.across(said)


def with_interval(found: ScaleStudy) -> Table:
    """The first metric and its 95 % interval."""
    return found.across(lambda summary: cell(summary, METRIC, interval=True))


def gaps(found: ScaleStudy) -> Table:
    """Differences to the oracle with as many agents, and to the policy's own number of agents."""

    def between(one: tuple[str, int | None], other: tuple[str, int]) -> str:
        values = [found.summaries.get((label, n or 0)) for label, n in (one, other)]
        if values[0] is None or values[1] is None or one == other:
            return "-"
        return f"{values[0].median[METRIC] - values[1].median[METRIC]:.3f}"

    rows = [
        [
            entry.label,
            *(
                f"{between((ORACLE, n), (entry.label, n))} / "
                f"{between((entry.label, entry.trained_with), (entry.label, n))}"
                for n in found.numbers
            ),
        ]
        for entry in found.entries
        if not entry.builtin
    ]
    return ["", *(f"N={n}" for n in found.numbers)], rows


def over_time(found: ScaleStudy) -> Table:
    """The first metric at the quarters of an episode, with the last number of agents."""
    table = found.over_time(found.numbers[-1])
    if table is None:
        raise SystemExit(f"{METRIC} is not known over time")
    return table


def cost(found: ScaleStudy) -> Table:
    """CPU microseconds per agent and step, policy + world."""
    return next(iter(found.costs().values()))


def training(found: ScaleStudy) -> Table:
    """CPU seconds of training, and memory and time of play with the last number of agents."""
    rows = []
    for entry in found.entries:
        if not entry.builtin:
            seconds = [read_log(Run(run).stats)[-1]["cpu_seconds"] for run in entry.runs]
            summary = found.summaries[entry.label, found.numbers[-1]]
            rows.append(
                [
                    entry.label,
                    f"{np.median(seconds):.0f} ({max(seconds):.0f})",
                    f"{summary.cost['cpu_seconds']:.0f}",
                    f"{summary.cost['peak_mb']:.0f}" if "peak_mb" in summary.cost else "-",
                ]
            )
    last = found.numbers[-1]
    return ["", "trained in CPU-s (most)", f"played N={last} in CPU-s", f"MB with N={last}"], rows


TABLES: dict[str, Callable[[ScaleStudy], Table]] = {
    "coverage": median_and_worst(METRIC),
    "interval": with_interval,
    "coverage_015": median_and_worst("coverage_015"),
    "collisions": median_and_worst("collisions"),
    "mean_distance": median_and_worst("mean_distance"),
    "path_length": median_and_worst("path_length"),
    "gaps": gaps,
    "over_time": over_time,
    "cost": cost,
    "training": training,
}


# ------------------------------------------------------------------------------------------- plots


def learning(found: ScaleStudy) -> bytes:
    """A PNG of the first metric over training: solid with the trained number of agents, dashed with
    others. Lines are medians over seeds; the shade reaches the worst seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, entry in enumerate(found.entries):
        if entry.builtin:
            continue
        logs = [read_log(Run(run).stats) for run in entry.runs]
        logs = [[line for line in log if "evaluation" in line] for log in logs]
        length = min(map(len, logs))
        seconds = np.mean([[line["cpu_seconds"] for line in log[:length]] for log in logs], 0)
        kinds = [kind for kind in logs[0][0] if kind.startswith("evaluation")]
        for kind, line_style in zip(kinds, ("-", "--", ":"), strict=False):
            values = np.array([[line[kind][METRIC] for line in log[:length]] for log in logs])
            n = logs[0][0][kind]["agents"]
            middle, colour = np.median(values, 0), f"C{number % 10}"
            label = f"{entry.label}, N={n}"
            axes.plot(seconds, middle, line_style, color=colour, label=label)
            axes.fill_between(seconds, values.min(0), middle, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="CPU seconds of training", ylabel=METRIC, ylim=(0, 1), xscale="log")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    return png(figure)


PLOTS: dict[str, Callable[[ScaleStudy], bytes]] = {
    "by-number": ScaleStudy.by_number,
    "by-step": ScaleStudy.by_step,
    "learning": learning,
}


# ---------------------------------------------------------------------------------------- the page


def answered(request: re.Match, out: Path) -> str:
    """The Markdown for one request of the text."""
    kind, what, names, agents, at_length, settings = request.groups()
    if what not in (TABLES if kind == "table" else PLOTS):
        raise SystemExit(f"there is no {kind} {what!r}: {request[0]}")
    numbers = [int(n) for n in agents.split()]
    found = study(names.split(), numbers, (settings or "").split(), bool(at_length))
    if kind == "table":
        return as_markdown(TABLES[what](found))
    picture = out.with_name(f"{out.stem}-{what}.png")
    with whole_file(picture) as unfinished:
        unfinished.write_bytes(PLOTS[what](found))
    return f"![{what}]({picture.name})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--page", action="store_true", help="of what is finished; train nothing")
    parser.add_argument("--text", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--out", type=Path, default=Path("docs/scaling.md"))
    options = parser.parse_args()
    text = options.text.read_text("utf-8")
    if left := re.search("<!-- (table|plot).*", REQUEST.sub("", text)):
        raise SystemExit(f"this is not understood: {left[0]}")
    sweeps = dict.fromkeys(name for found in REQUEST.finditer(text) for name in found[3].split())
    if not options.page:
        for name in sweeps:
            print(f"sweep {name}", flush=True)
            marl("sweep", f"experiments/{name}.json")
    page = REQUEST.sub(lambda request: answered(request, options.out), text)
    with whole_file(options.out) as unfinished:
        unfinished.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
