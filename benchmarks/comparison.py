"""Which agent of the family learns fastest, and which keeps its score with more agents?

    python benchmarks/comparison.py [--sweeps experiments/comparison_4.json ...] [--page]
                                    [--out docs/comparison.md]

Trains the sweeps experiments/comparison_4.json and comparison_12.json with
`marl sweep`, which skips finished runs and continues interrupted ones. Measures each finished run
with its training number of agents and with more (`marl compare`), and writes one page with tables
and pictures. Each sweep also has a page of its own, with movies and settings:
data/comparisons/NAME/comparison.html.
"""

import argparse
import os
from pathlib import Path

from commands import marl

from marl.folders import data_root
from marl.runs.files import whole_file
from marl.studies.comparison import measure
from marl.studies.comparison_page import Comparison
from marl.studies.entries import gather
from marl.studies.tables import as_markdown

METRIC = "coverage"
AGENTS = {4: [4, 12, 80], 12: [12, 80]}  # trained with, measured with


def compare(name: str) -> Comparison:
    """Measure a sweep's finished runs, and write its page in data/comparisons/NAME."""
    groups, left_out = gather([name])
    numbers = AGENTS[groups[0].config.world.agent_count]
    for what in measure(groups, numbers, os.cpu_count() or 1):
        print(what, flush=True)
    comparison = Comparison(name, groups, METRIC, left_out)
    print(comparison.write(data_root() / "comparisons" / name))
    return comparison


def section(comparison: Comparison, out: Path) -> list[str]:
    """The results of one sweep in Markdown; its picture lies beside the page."""
    trained, *larger = comparison.numbers
    picture = out.with_name(f"{comparison.title}.png")
    with whole_file(picture) as unfinished:
        unfinished.write_bytes(comparison.picture())
    parts = [f"## Trained with {trained} agents", as_markdown(comparison.scores(trained))]
    for n in larger:
        parts += [f"The same weights with {n} agents:", as_markdown(comparison.scores(n))]
    parts += [f"With {trained} agents:", as_markdown(comparison.improvements(trained))]
    return [*parts, f"![learning curves and intervals]({picture.name})", *comparison.notes]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--sweeps", type=Path, nargs="+", metavar="SWEEP.json",
        default=[Path(f"experiments/comparison_{n}.json") for n in AGENTS],
    )  # fmt: skip
    parser.add_argument("--page", action="store_true", help="of what is finished; train nothing")
    parser.add_argument("--out", type=Path, default=Path("docs/comparison.md"))
    options = parser.parse_args()
    parts = [(Path(__file__).parent / "comparison.md").read_text().strip()]
    for file in options.sweeps:
        if not options.page:
            marl("sweep", str(file))
        parts += section(compare(file.stem), options.out)
    parts.append("`make bench-comparison` makes this page; it continues after an interruption.")
    with whole_file(options.out) as unfinished:
        unfinished.write_text("\n\n".join(parts) + "\n", "utf-8")


if __name__ == "__main__":
    main()
