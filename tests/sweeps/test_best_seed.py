"""Several seeds are trained and the one that plays best is kept."""

import pytest
from tiny import TINY, write_tiny

from marl.cli import main
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.evaluation import evaluate
from marl.runs.loading import find_policy
from marl.runs.run import Run, run_state
from marl.sweeps import best_seed, runner
from marl.training.loop import train


@pytest.fixture
def quick(data, monkeypatch):
    """Runs are trained in this process, and few episodes are played."""

    def run_sweep(sweep, workers):
        for job in sweep.jobs:
            train(job.config, job.name)
        yield {job.name: "finished" for job in sweep.jobs}

    monkeypatch.setattr(runner, "run_sweep", run_sweep)
    monkeypatch.setattr(best_seed, "WORTH", 12)
    monkeypatch.setattr(best_seed, "LEAST", 2)


def test_the_best_is_kept(quick):
    settings = ["training.seed=5", "training.evaluate_agents=[6]"]
    config = parse_config(with_settings(TINY, settings))
    jobs = best_seed.seed_sweep(config, "team", 3).jobs
    assert [(job.name, job.seed) for job in jobs] == [("team-5", 5), ("team-6", 6), ("team-7", 7)]
    assert [job.config.training.seed for job in jobs] == [5, 6, 7]
    for job in jobs:
        train(job.config, job.name)
    played = best_seed.play(jobs)
    scores = {}
    for x in played:
        assert [(r["agents"], r["episodes"]) for r in x.results] == [(4, 3), (6, 2)]
        policy, starts = find_policy(x.job.name), x.results[0]["seed"]
        again = [evaluate(policy.policy, policy.world_for(n), n, e, starts)
                 for n, e in ((4, 3), (6, 2))]  # fmt: skip
        scores[x.job.name] = sum(result["coverage"] for result in again) / 2
        assert x.score == scores[x.job.name]
        assert starts != policy.config.evaluation.seed
    assert [x.job.name for x in played] == sorted(scores, key=scores.get, reverse=True)
    best_seed.keep(played[0].job, "team")
    assert Run("team").weights.read_bytes() == Run(played[0].job.name).weights.read_bytes()
    assert run_state("team").state == "finished"
    with pytest.raises(UserError, match="there is a run 'team' already"):
        best_seed.seed_sweep(config, "team", 3)


def test_the_command(quick, tmp_path, capsys):
    config = str(write_tiny(tmp_path))
    with pytest.raises(SystemExit) as exit:
        main(["train", config, "--seeds", "2", "--set", "training.evaluate_agents=[6]"])
    assert exit.value.code == 0
    said = capsys.readouterr().out
    assert "tiny-best is tiny-best-" in said
    assert "the best of 2 on these starts" in said
    assert run_state("tiny-best").state == "finished"
    with pytest.raises(SystemExit) as exit:
        main(["train", config, "--seeds", "1"])
    assert exit.value.code == 2
