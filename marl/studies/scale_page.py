"""A scale study as tables, plots, movies and pictures."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from marl.errors import UserError
from marl.runs.curves import LIMITS, png
from marl.studies import pages
from marl.studies.entries import Entry
from marl.studies.measurements import as_file_name
from marl.studies.scale import ORACLE, Summary, summarise
from marl.studies.statistics import RESAMPLES
from marl.studies.tables import HEADINGS, Table, as_markdown, with_interval
from marl.worlds.particles.scenario import Scenario

FILMED = (80, 1000)  # numbers of agents of which there is a movie, in particle worlds
PICTURED = 10_000  # likewise a picture of the end


class ScaleStudy:
    """Policies that were measured with several numbers of agents, and what is to be said of them.
    Raises UserError where nothing could be measured."""

    def __init__(
        self, title: str, entries: Sequence[Entry], metric: str, left_out: Sequence[str] = ()
    ) -> None:
        self.title, self.entries, self.metric, self.left_out = title, entries, metric, left_out
        self.numbers = sorted({n for entry in entries for n in entry.rows})
        if not self.numbers:
            raise UserError(next(iter(entries[0].refused.values())))
        self.summaries: dict[tuple[str, int], Summary] = {
            (entry.label, n): summarise(rows, metric)
            for entry in entries
            for n, rows in entry.rows.items()
        }

    # ------------------------------------------------------------------------------------- tables

    def scores(self, agents: int, intervals: bool = False) -> Table:
        """What each policy reaches with so many agents; `intervals`: of everything, not only of the
        first metric."""
        names = [self.metric, *(x for x in self._measured(agents) if x != self.metric)]
        headings = ["", "seeds x episodes"]
        headings += [HEADINGS.get(name, name.replace("_", " ")) for name in names]
        headings[2] += " [95 %]"
        headings[3:3] = ["worst seed"]
        headings += [*["below the oracle"] * self._has_oracle, "below training N"]
        rows = []
        for entry in self.entries:
            summary = self.summaries.get((entry.label, agents))
            if summary is None:
                rows.append([entry.label, *"-" * (len(headings) - 1)])
                continue
            cells = [cell(summary, name, intervals or name == self.metric) for name in names]
            cells[1:1] = [f"{summary.worst:.3f}" if summary.seeds > 1 else "-"]
            gaps = [self._gap(ORACLE, agents, summary)] * self._has_oracle
            gaps.append(self._gap(entry.label, entry.trained_with, summary))
            count = f"{summary.seeds} x {summary.episodes}"
            rows.append([entry.label, count, *cells, *gaps])
        return headings, rows

    @property
    def _has_oracle(self) -> bool:
        return any(entry.label == ORACLE for entry in self.entries)

    def _measured(self, agents: int) -> list[str]:
        """Metrics of any policy with so many agents."""
        shown = [s for (_, n), s in self.summaries.items() if n == agents]
        names = dict.fromkeys(name for summary in shown for name in summary.median)
        return [name for name in names if "@" not in name and name != "reward"]

    def _gap(self, label: str, agents: int | None, summary: Summary) -> str:
        """By how much the first metric lies below that of a policy with so many agents."""
        other = self.summaries.get((label, agents or 0))
        if other is None or other is summary:
            return "-"
        return f"{other.median[self.metric] - summary.median[self.metric]:.3f}"

    def over_time(self, agents: int) -> Table | None:
        """The first metric at the quarters of an episode and at its end; None where it is known at
        the end only."""
        shown = {x.label: self.summaries.get((x.label, agents)) for x in self.entries}
        known = [name for s in shown.values() if s for name in s.median]
        names = [x for x in dict.fromkeys(known) if x.startswith(f"{self.metric}@")]
        if not names:
            return None
        names.append(self.metric)
        length = max(len(s.by_step) for s in shown.values() if s)
        steps = [name.partition("@")[2] or str(length) for name in names]
        rows = [
            [label, *("-" if s is None else cell(s, name, True) for name in names)]
            for label, s in shown.items()
        ]
        return ["", *(f"step {step} [95 %]" for step in steps)], rows

    def across(self, said: Callable[[Summary], str]) -> Table:
        """Something of each policy with each number of agents."""
        rows = []
        for entry in self.entries:
            found = [self.summaries.get((entry.label, n)) for n in self.numbers]
            rows.append([entry.label, *("-" if s is None else said(s) for s in found)])
        return ["", *(f"N={n}" for n in self.numbers)], rows

    def costs(self) -> dict[str, Table]:
        """By title: CPU time of each policy with each number of agents, and memory, where they are
        known."""
        tables = {}
        if self._known("policy_cpu_us"):
            tables["CPU microseconds per agent and step: policy + world"] = self.across(
                lambda s: f"{s.cost['policy_cpu_us']:.2f} + {s.cost['world_cpu_us']:.2f}"
            )
        if self._known("peak_mb"):
            tables["Memory of the process at its peak, in MB"] = self.across(
                lambda s: f"{s.cost['peak_mb']:.0f}"
            )
        return tables

    def _known(self, cost: str) -> bool:
        return all(cost in summary.cost for summary in self.summaries.values())

    @property
    def notes(self) -> list[str]:
        """What is to be known beside the numbers."""
        result = next(iter(self.entries[0].rows.values()), [{}])[0].get("result", {})
        timing = (
            "Policy: its act and reset; world: the simulator and the metrics; both without "
            "compilation, on one thread, with as many measurements side by side as there were "
            "workers. "
        ) * self._known("policy_cpu_us")
        return [
            "Medians over seeds of means over greedy episodes, on the same starts for all "
            f"(seed {result.get('seed', '-')}); brackets: 95 % percentile bootstrap intervals "
            f"({RESAMPLES} resamples of the runs, and of the episodes). Built-in policies play in "
            f"the world of the first trained policy. {timing}Memory: of a process that does "
            f"nothing else, with Python, torch and numba. {pages.made_with()}",
            *pages.refusals(self.entries),
            *self.left_out,
        ]

    def markdown(self, pictures: Sequence[str]) -> str:
        """The tables in Markdown, with pictures given by their paths from there."""
        parts = [f"# {self.title}", *(f"![{self.metric}]({picture})" for picture in pictures)]
        for n in self.numbers:
            parts += [f"## {n} agents", as_markdown(self.scores(n, intervals=True))]
            if table := self.over_time(n):
                parts += [f"{self.metric} over time:", as_markdown(table)]
        for title, table in self.costs().items():
            parts += [f"## {title}", as_markdown(table)]
        return "\n\n".join([*parts, *self.notes]) + "\n"

    # -------------------------------------------------------------------------------------- plots

    def by_number(self) -> bytes:
        """A PNG: the first metric against the number of agents; bars are intervals, the worst seed
        is shaded."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.5, 4.8), layout="constrained")
        axes = figure.subplots()
        for number, entry in enumerate(self.entries):
            ns = sorted(entry.rows)
            shown = [self.summaries[entry.label, n] for n in ns]
            medians = [summary.median[self.metric] for summary in shown]
            colour, line = _style(number, entry)
            axes.plot(ns, medians, line, color=colour, marker=".", label=entry.label)
            worst = [summary.worst for summary in shown]
            axes.fill_between(ns, worst, medians, color=colour, alpha=0.2, linewidth=0)
            for n, summary in zip(ns, shown, strict=True):
                if interval := summary.intervals.get(self.metric):
                    axes.plot([n, n], interval, color=colour, linewidth=1.2)
        axes.set(xscale="log", xlabel="agents", ylabel=self.metric, ylim=LIMITS.get(self.metric))
        axes.set_xticks(self.numbers, [f"{n:,}".replace(",", " ") for n in self.numbers])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
        return png(figure)

    def by_step(self) -> bytes:
        """A PNG: the first metric over the steps of an episode, a panel for each number of agents;
        bars are intervals, the worst seed is shaded."""
        from matplotlib.figure import Figure

        columns = min(3, len(self.numbers))
        rows = -(-len(self.numbers) // columns)
        figure = Figure(figsize=(1.6 + 3.6 * columns, 0.6 + 2.8 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
        for axes in panels[len(self.numbers) :]:
            axes.remove()
        labels = {}
        for n, axes in zip(self.numbers, panels, strict=False):
            for number, entry in enumerate(self.entries):
                summary = self.summaries.get((entry.label, n))
                if summary is None or not len(summary.by_step):
                    continue
                colour, line = _style(number, entry)
                steps = range(1, len(summary.by_step) + 1)
                (labels[entry.label],) = axes.plot(steps, summary.by_step, line, color=colour)
                band = summary.lowest_by_step, summary.by_step
                axes.fill_between(steps, *band, color=colour, alpha=0.2, linewidth=0)
                for name, interval in summary.intervals.items():
                    metric, _, step = name.partition("@")
                    if metric == self.metric:
                        at = int(step or steps[-1])
                        axes.plot([at, at], interval, color=colour, linewidth=1.2)
            axes.set(title=f"{n} agents", xlabel="step", ylim=LIMITS.get(self.metric))
            axes.grid(alpha=0.3)
        panels[0].set_ylabel(self.metric)
        if labels:
            figure.legend(labels.values(), labels.keys(), loc="outside right upper")
        return png(figure)

    # ---------------------------------------------------------------------------------- all files

    def write(self, folder: Path) -> Iterator[Path]:
        """Write scale.md, the plots and the movies into this folder; yields each file's path."""
        plots = {f"{self.metric}.png": self.by_number()}
        if any(len(summary.by_step) for summary in self.summaries.values()):
            plots[f"{self.metric}-by-step.png"] = self.by_step()
        yield from pages.write(folder, {**plots, "scale.md": self.markdown([*plots]).encode()})
        for entry in self.entries:
            for n in self._filmed(entry):
                if n in entry.rows and not entry.yardstick:
                    kind = "png" if n == PICTURED else "gif"
                    path = folder / f"{as_file_name(entry.label)}-{n}.{kind}"
                    yield pages.film(entry.middle(n, self.metric), n, path)

    def _filmed(self, entry: Entry) -> Sequence[int]:
        """The numbers of agents of which there is a movie or a picture. Slow worlds, some of which
        draw only if asked for, have none."""
        world = next(iter(entry.policies.values())).world
        if isinstance(world, Scenario):
            return (*FILMED, PICTURED)
        return () if world.slow else self.numbers[-1:]


def cell(summary: Summary, name: str, interval: bool) -> str:
    """The median of a metric, and its interval."""
    if name not in summary.median:
        return "-"
    return with_interval(summary.median[name], summary.intervals.get(name) if interval else None)


def _style(number: int, entry: Entry) -> tuple[str, str]:
    """Colour and line of a policy."""
    return f"C{number % 10}", "--" if entry.builtin else "-"
