"""Cooperative pong: PettingZoo's game behind numbers."""

import numpy as np
import pytest
from missing import hide

from marl.errors import UserError
from marl.testing.check_world import check_world
from marl.worlds.pettingzoo.pong import MODULE, PADDLES, CooperativePong, PongEnv
from marl.worlds.registry import make

HEIGHT, WIDTH = 280, 480


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pytest.importorskip(MODULE)


def test_it_keeps_the_promises_of_a_world():
    check_world(make("cooperative_pong", num_worlds=2, processes=0, episode_length=12))


def middle(lit):
    """Row and column of the middle of what is lit, bool[H, W], as pygame has it: rounded up."""
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    return (rows[0] + rows[-1] + 1) // 2, (columns[0] + columns[-1] + 1) // 2


def check_seen(seen, before, picture):
    """Both observations against the picture, in which the ball is in the open."""
    lit = picture.any(2)
    ours, far = middle(lit[:, :10])[0], middle(lit[:, -15:])[0]
    row, column = middle(lit[:, 12:400])
    unit = HEIGHT / 2
    heights = [ours / unit - 1, far / unit - 1]
    ball = (column + 12) / unit, row / unit - 1
    np.testing.assert_allclose(seen["paddle_0"][:4], [*heights, *ball], atol=1e-6)
    np.testing.assert_allclose(
        seen["paddle_1"][:4], [*heights[::-1], WIDTH / unit - ball[0], ball[1]], atol=1e-6
    )
    moved = (seen["paddle_0"][2:4] - before["paddle_0"][2:4]) * unit
    np.testing.assert_allclose(seen["paddle_0"][4:6] * 10, moved, atol=1.001)  # whole pixels
    np.testing.assert_allclose(seen["paddle_1"][4:6], seen["paddle_0"][4:6] * (-1, 1))
    assert [seen["paddle_0"][6], seen["paddle_1"][6]] == [0.0, 1.0]


@pytest.mark.parametrize("seed", [3, 4])
def test_it_is_pettingzoos_game(seed):
    from pettingzoo.butterfly import cooperative_pong_v6

    ours = PongEnv(CooperativePong(episode_length=300))
    real = cooperative_pong_v6.parallel_env(max_cycles=300, render_mode="rgb_array")
    rng, paid, looked, steps = np.random.default_rng(seed), 0.0, 0, 0
    before, picture = ours.reset(seed=seed)[0], real.reset(seed=seed)[0]["paddle_0"]
    while ours.agents:
        wanted = {name: int(rng.integers(3)) for name in ours.agents}
        seen, *told = ours.step(wanted)
        pictures, *said = real.step(wanted)
        assert told[:3] == said[:3]
        picture = pictures["paddle_0"]
        if 20 < seen["paddle_0"][2] * HEIGHT / 2 < 390 and np.all(abs(seen["paddle_0"][3]) < 0.8):
            check_seen(seen, before, picture)
            np.testing.assert_array_equal(ours.render(), picture)
            looked += 1
        paid, steps, before = paid + sum(said[0].values()) / 2, steps + 1, seen
    assert not real.agents
    assert looked > 5
    assert ours.measures == {"return": pytest.approx(paid), "kept": steps - 1}


def follow(seen):
    """Move the paddle to the height of the ball."""
    gap = seen[..., 3] - seen[..., 0]
    move = np.where(gap > 0.05, 2, np.where(gap < -0.05, 1, 0))
    return np.eye(3, dtype=np.float32)[move]


def test_paddles_that_follow_the_ball_keep_it_to_the_end():
    world = make("cooperative_pong", processes=0, cake_paddle=False, episode_length=400)
    seen = world.reset()[PADDLES]
    for _ in range(400):
        step = world.step({PADDLES: follow(seen)})
        seen = step.observation[PADDLES]
    assert step.truncated[0]
    assert not step.terminated[PADDLES].any()
    assert step.metrics["kept"][0] == 400
    assert step.metrics["return"][0] == pytest.approx(100)


def test_a_lost_ball_ends_the_episode():
    world = make("cooperative_pong", processes=0, ball_speed=20)
    world.reset()
    away = np.tile(np.eye(3, dtype=np.float32)[1], (1, 2, 1))
    kept = 0
    while not (step := world.step({PADDLES: away})).done[0]:
        kept += 1
    assert step.terminated[PADDLES].all()
    assert step.reward[PADDLES][0].tolist() == [-10.0, -10.0]
    assert step.metrics["kept"][0] == kept
    assert step.metrics["return"][0] == pytest.approx(kept / 9 - 10, abs=1e-4)


def test_what_is_missing_is_named_when_a_world_is_made(monkeypatch):
    scenario = CooperativePong()
    hide(monkeypatch, "pygame", "pettingzoo.butterfly.cooperative_pong")
    with pytest.raises(UserError, match=r"cannot be made.*; pip install 'marl\[butterfly\]'"):
        scenario.make_world(1, 0)
