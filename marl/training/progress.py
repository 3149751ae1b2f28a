"""How a run or a sweep is getting on: a bar or a table on a terminal, plain lines when piped."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from marl.evaluation import primary_metric


class Display:
    """Shows steps per second, the time left and the world's first metric so far; for a `with`
    statement."""

    def __init__(self, name: str, steps: int, done: int) -> None:
        self._steps, self._begun = steps, done
        self._console = Console(highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[speed]} steps/s  left"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metric]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=steps, completed=done, speed="-", metric="")
        self._metric = ""

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def evaluated(self, results: list[dict]) -> None:
        """Take in an evaluation, with several numbers of agents if so configured."""
        first = results[0]
        if name := primary_metric(first):
            others = [f"   {result[name]:.3f} with {result['agents']}" for result in results[1:]]
            self._metric = f"{name} {first[name]:.3f}" + "".join(others)

    def logged(self, step: int, steps_per_second: float) -> None:
        """Show where the run is."""
        speed = f"{steps_per_second:,.0f}"
        self._bar.update(self._task, completed=step, speed=speed, metric=self._metric)
        if self._bar.disable and steps_per_second:
            left = max(self._steps - step, 0) / steps_per_second
            columns = [f"step {step} of {self._steps}", f"{speed} steps/s", f"{left:.0f} s left"]
            self.say("   ".join([*columns, *([self._metric] if self._metric else [])]))

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text, markup=False)
