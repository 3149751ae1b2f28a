"""A comparison as Markdown, as a picture and as one HTML page that needs no other file."""

from collections.abc import Sequence
from pathlib import Path

from marl.errors import UserError
from marl.runs.curves import png
from marl.studies import pages
from marl.studies.comparison import Summary, curve, improvement, summarise
from marl.studies.entries import Entry, differences, flat_settings
from marl.studies.statistics import RESAMPLES
from marl.studies.tables import Table, as_markdown, with_interval


class Comparison:
    """Policies that were measured, and what is to be said of them."""

    def __init__(
        self, title: str, entries: Sequence[Entry], metric: str, left_out: Sequence[str] = ()
    ) -> None:
        self.title = title
        self.left_out = left_out
        self.metric = metric
        self.numbers = sorted({n for entry in entries for n in entry.rows})
        if not self.numbers:
            raise UserError(next(iter(entries[0].refused.values())))
        self.summaries: dict[tuple[str, int], Summary] = {
            (entry.label, n): summarise(entry, n, metric) for entry in entries for n in entry.rows
        }
        first = self.numbers[0]
        self.entries = sorted(entries, key=lambda entry: -self._iqm(entry, first))

    def _iqm(self, entry: Entry, agents: int) -> float:
        summary = self.summaries.get((entry.label, agents))
        return summary.iqm if summary else float("-inf")

    # ------------------------------------------------------------------------------------- tables

    def scores(self, agents: int) -> Table:
        """What each policy reaches with so many agents."""
        headings = ["", "runs", f"{self.metric}: IQM [95 %]", "median", "worst"]
        headings += ["collisions", "reward", "CPU-s"]
        rows = []
        for entry in self.entries:
            summary = self.summaries.get((entry.label, agents))
            if summary is None:
                rows.append([entry.label, str(len(entry.runs)), *"-----", f"{entry.cpu:.0f}"])
                continue
            collisions = "-" if summary.collisions is None else f"{summary.collisions:.3f}"
            rows.append(
                [entry.label, str(summary.runs), with_interval(summary.iqm, summary.iqm_interval),
                 f"{summary.median:.3f}", f"{summary.worst:.3f}", collisions,
                 f"{summary.reward:.3f}", f"{entry.cpu:.0f}"]
            )  # fmt: skip
        return headings, rows

    def improvements(self, agents: int) -> Table:
        """How sure it is that the best policy is better than each of the others."""
        best, *others = [entry for entry in self.entries if agents in entry.rows]
        rows = []
        for other in others:
            found = improvement(best, other, agents, self.metric)
            p_value = "-" if found.p_value is None else f"{found.p_value:.3f} ({found.pairs} pairs)"
            probability = with_interval(found.probability, found.interval, digits=2)
            rows.append([f"{best.label} over {other.label}", probability, p_value])
        return ["", "probability of improvement [95 %]", "paired test: p"], rows

    def settings(self, all_of_them: bool = False) -> Table:
        """The configs side by side, only where they differ unless asked for all."""
        flat = [flat_settings(entry.config) for entry in self.entries]
        keys = differences([entry.config for entry in self.entries])
        if all_of_them:
            keys = list(dict.fromkeys(key for values in flat for key in values))
        rows = [[key, *(str(values.get(key, "-")) for values in flat)] for key in keys]
        return ["setting", *(entry.label for entry in self.entries)], rows

    @property
    def notes(self) -> list[str]:
        """What is to be known beside the numbers."""
        seeds = sorted({seed for entry in self.entries for seed in entry.seeds})
        evaluations = self.entries[0].config.evaluation
        return [
            f"Seeds {', '.join(map(str, seeds))}; greedy episodes on starts of seed "
            f"{evaluations.seed} that serve for nothing else. IQM: interquartile mean over runs; "
            f"brackets: 95 % percentile bootstrap intervals ({RESAMPLES} resamples of the runs); "
            f"CPU-s: what a run's training took, median. {pages.made_with()}",
            *pages.refusals(self.entries),
            *self.left_out,
        ]

    # -------------------------------------------------------------------------------------- pages

    def markdown(self, picture: str) -> str:
        """The page in Markdown; `picture` is the path of the picture from there."""
        parts = [f"# {self.title}"]
        for n in self.numbers:
            parts += [f"## {n} agents", as_markdown(self.scores(n))]
            if len(self.entries) > 1:
                parts.append(as_markdown(self.improvements(n)))
        parts += [f"![{self.metric}]({picture})", "## Settings that differ"]
        parts += [as_markdown(self.settings()) if len(self.entries) > 1 else "None.", *self.notes]
        return "\n\n".join(parts) + "\n"

    def page(self, picture: bytes, films: dict[str, bytes]) -> str:
        """One HTML page with everything in it; `films`: GIFs by policy."""
        improvements = len(self.entries) > 1
        return pages.render(
            "comparison.html",
            title=self.title,
            metric=self.metric,
            sections={
                f"{n} agents": [self.scores(n), *([self.improvements(n)] if improvements else [])]
                for n in self.numbers
            },
            picture=pages.inline(picture, "png"),
            films={label: pages.inline(film, "gif") for label, film in films.items()},
            settings=self.settings(all_of_them=True),
            differing={row[0] for row in self.settings()[1]},
            notes=self.notes,
        )

    def picture(self) -> bytes:
        """A PNG: learning curves over steps and over CPU seconds, and intervals for each N."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter

        columns = max(2, len(self.numbers))
        height = 1.2 + 0.3 * len(self.entries)
        legend = 0.2 * -(-len(self.entries) // columns)
        figure = Figure(figsize=(4.6 * columns, 4.2 + height + legend), layout="constrained")
        grid = figure.add_gridspec(2, columns, height_ratios=[4.2, height])
        curves = {entry.label: curve(entry, self.metric) for entry in self.entries}
        for place, axis, unit in ((0, "steps", "environment steps"), (1, "cpu", "CPU seconds")):
            axes = figure.add_subplot(grid[0, place])
            for number, (label, found) in enumerate(curves.items()):
                if not len(found["steps"]):
                    continue
                colour, dash = f"C{number % 10}", ("-", "--")[number // 10 % 2]
                axes.plot(found[axis], found["iqm"], dash, color=colour, label=label)
                band = found["low"], found["high"]
                axes.fill_between(found[axis], *band, color=colour, alpha=0.15, linewidth=0)
            axes.set(xlabel=unit, ylabel=f"{self.metric} (greedy, in training)")
            axes.grid(alpha=0.3)
            axes.xaxis.set_major_formatter(EngFormatter())
            if place == 0 and axes.lines:
                shown = axes.get_legend_handles_labels()
                figure.legend(*shown, loc="outside lower center", ncols=columns, fontsize="small")
        for place, n in enumerate(self.numbers):
            axes = figure.add_subplot(grid[1, place])
            for number, entry in enumerate(self.entries):
                if summary := self.summaries.get((entry.label, n)):
                    colour = f"C{number % 10}"
                    axes.plot(summary.iqm_interval, [number, number], color=colour, linewidth=6)
                    axes.plot(summary.iqm, number, "|", color="black", markersize=12)
            labels = [entry.label for entry in self.entries] if place == 0 else []
            axes.set(
                title=f"{n} agents: {self.metric}", yticks=range(len(labels)), yticklabels=labels
            )
            axes.set_ylim(len(self.entries) - 0.5, -0.5)
            axes.grid(axis="x", alpha=0.3)
        return png(figure)

    def films(self, folder: Path) -> dict[str, bytes]:
        """Each policy's median run as it plays an episode: GIFs, left in the folder."""
        films = {}
        n = self.numbers[0]
        for number, entry in enumerate(self.entries, 1):
            if n in entry.rows:
                path = pages.film(entry.middle(n, self.metric), n, folder / f"{number}.gif")
                films[entry.label] = path.read_bytes()
        return films

    def write(self, folder: Path) -> Path:
        """comparison.md, .png and .html and the GIFs, in this folder; returns the HTML page."""
        picture = self.picture()
        contents = {
            "comparison.png": picture,
            "comparison.md": self.markdown("comparison.png").encode(),
            "comparison.html": self.page(picture, self.films(folder)).encode(),
        }
        *_, page = pages.write(folder, contents)
        return page
