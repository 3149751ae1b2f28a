"""`marl demo` after its training: a table, movies and a plot."""

from marl import evaluation
from marl.policies.builtin import BUILTIN, HOMES
from marl.rendering import movies
from marl.rendering.frames import draw
from marl.runs.loading import find_policy
from marl.runs.run import Run
from marl.studies.tables import print_table

AGENTS = (4, 12, 80, 1000)
POLICIES = [name for name in BUILTIN if name != "still" and name not in HOMES]
MOVIES = {4: "gif", 80: "gif", 1000: "gif"}


def show(name: str) -> None:
    """Measure a run beside the built-in policies, in the same world, and film it."""
    trained = find_policy(name)
    run = Run(name)
    makers = {name: trained.policy, **{other: BUILTIN[other] for other in POLICIES}}
    rows = []
    for policy, maker in makers.items():
        for number in AGENTS:
            world = trained.world_for(number)
            episodes = max(2, 1600 // number)  # few, for a demonstration
            rows.append((policy, evaluation.evaluate(maker, world, number, episodes, seed=0)))
    print_table(rows)
    print(f"(few episodes; `marl evaluate {name}` plays more)")
    for number, suffix in MOVIES.items():
        path = run.stats / f"{name}-{number}.{suffix}"
        scenes = evaluation.scenes(trained.policy, trained.world_for(number))
        movies.save((draw(scene) for scene in scenes), path)
        print(path)
    print(run.stats / "curve.png")
