"""Tennis: the original's printed transitions, physics with known answers, rules, symmetry."""

import itertools

import numpy as np
import pytest

from marl import check_world, make
from marl.policies.builtin import BUILTIN
from marl.rendering.frames import draw
from marl.rollout import collect
from marl.worlds.tennis import physics

STILL = np.zeros((1, 2, 2), np.float32)


def court(ball=None, rackets=None, last=-1, **parameters):
    """One court, as given: [x, y, vx, vy], of both rackets; otherwise far from the ball."""
    world = make("tennis", **parameters)
    world.reset()
    s = world._state
    if ball is not None:
        s["ball"][0] = ball
    s["rackets"][0] = rackets or [[-10, physics.REST, 0, 0], [10, physics.REST, 0, 0]]
    s["last"][0] = last
    return world


def played(world, steps=100, actions=STILL):
    """Steps until the rally is over, and what both have earned."""
    while not world.step({"players": actions}).done[0]:
        assert world._state["steps"][0] < steps
    return world._state["steps"][0], world._state["earned"][0].round(3).tolist()


@pytest.mark.parametrize("legacy", [True, False])
def test_the_originals_printed_transition(legacy):
    """Two players' actions and both next observations, as the Unity build printed them."""
    rackets = [[-7.38993645, -1.5, 0, 0], [6.70024681, -1.5, 0, 0]]
    world = court([6.83172083, 5.99607611, 0, -0.1962], rackets, legacy=legacy)
    actions = np.array([[[1, -0.251], [-0.959, -1]]], np.float32)
    seen = world.step({"players": actions}).observation["players"][0, :, -8:]
    a = [-4.38993692, -1.55886006, 30, -0.981, 6.83172083, 5.91759634]
    b = [-9.57725811, -1.55886006, -28.7701, -0.981, -6.83172083, 5.91759634]
    np.testing.assert_allclose(seen[:, :6], [a, b], atol=1e-4)
    ball = [[30, -0.981], [-28.7701, -0.981]] if legacy else [[0, -1.1772], [0, -1.1772]]
    np.testing.assert_allclose(seen[:, 6:], ball, atol=1e-4)


def test_the_originals_printed_rest():
    """Both players with their backs to the wall, the ball falling as fast as it can: three frames
    that the Unity build printed."""
    world = court([-6.05859756, 5.0, 0, -9.1962])
    back = np.array([[[-1.0, 0.0], [-1.0, 0.0]]], np.float32)
    for _ in range(6):
        seen = world.step({"players": back}).observation["players"][0].reshape(2, 3, 8)
    racket = [-10.8997889, -1.85216200, 0, 0]
    np.testing.assert_allclose(seen[..., :4], np.broadcast_to(racket, (2, 3, 4)), atol=1e-5)
    falls = np.diff([-8.10827911e-02, -1.00070286, -1.92032266])
    np.testing.assert_allclose(np.diff(seen[0, :, 5]), falls, atol=1e-5)


def test_an_untouched_serve_lasts_71_ticks():
    world = court([7, 6, 0, 0])
    assert played(world) == (15, [0.0, -0.01])
    assert played(court([-7, 6, 0, 0])) == (15, [-0.01, 0.0])
    height, speed, ticks = 6.0, 0.0, 0
    while height >= -2.75:
        speed = max(speed, -9.0) - 9.81 * 0.02
        height += speed * 0.02
        ticks += 1
    assert ticks == 71


def energy(racket, ball):
    moving = physics.RACKET_MASS * (racket[2:] @ racket[2:])
    return 0.5 * (moving + physics.BALL_MASS * (ball[2:] @ ball[2:]))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_contact_keeps_energy_and_momentum(side):
    rng = np.random.default_rng(0)
    struck = 0
    for _ in range(500):
        racket = np.concatenate([rng.uniform(-1, 1, 2), rng.uniform(-9, 9, 2)])
        ball = np.concatenate([racket[:2] + rng.uniform(-1.5, 1.5, 2), rng.uniform(-9, 9, 2)])
        before, momentum = energy(racket, ball), 4.0 * racket[2:] + 0.75 * ball[2:]
        velocity = ball[2:].copy()
        touching = physics.collide(racket, ball, side)
        np.testing.assert_allclose(4.0 * racket[2:] + 0.75 * ball[2:], momentum, atol=1e-9)
        change = np.linalg.norm(ball[2:] - velocity)
        if change > 2.0 * 2.0 * 4.0 / 4.75:  # faster than what does not bounce
            struck += 1
            assert touching
            np.testing.assert_allclose(energy(racket, ball), before)
        else:
            assert energy(racket, ball) <= before + 1e-9
    assert struck > 50


def test_a_ball_dropped_on_the_face_is_played_ahead():
    """It meets the face, 55 degrees up, and leaves as light would: 90 - 2 * 35 degrees of it."""
    racket, ball = np.zeros(4), np.array([0.0, 0.0, 0.0, -5.0])
    ball[:2] = 0.55 * np.array(physics.NORMAL)
    racket_before = racket.copy()
    assert physics.collide(racket, ball, 1.0)
    n = np.array(physics.NORMAL)
    closing = 5.0 * n[1]
    impulse = 2.0 * closing / (1 / 0.75 + 1 / 4.0)
    np.testing.assert_allclose(ball[2:], [0, -5] + impulse / 0.75 * n)
    np.testing.assert_allclose(racket[2:], racket_before[2:] - impulse / 4.0 * n)
    assert ball[2] > 0


def test_a_racket_rests_jumps_and_stops_at_the_net_and_the_wall():
    world = court([7, 6, 0, 0])
    jump = np.array([[[0.0, 1.0], [0.0, 0.5]]], np.float32)
    heights = [world.step({"players": jump}).observation["players"][0, :, -7] for _ in range(14)]
    jumper, other = np.transpose(heights)
    assert 0.7 < jumper.max() < 0.9  # told to jump until it is above -1.5, then 2.5 m higher
    np.testing.assert_allclose(other, physics.REST, atol=1e-6)
    # Before the net it is put back when the next tick begins; the wall stops it.
    for run, end in ((1.0, -1.0 + 0.6), (-1.0, physics.BACK)):
        world = court([7, 6, 0, 0])
        ahead = np.array([[[run, 0.0], [0.0, 0.0]]], np.float32)
        for _ in range(5):
            x = world.step({"players": ahead}).observation["players"][0, 0, -8]
        np.testing.assert_allclose(x, end, atol=1e-5)


OVER_B = [-0.3, 3.0, 5.0, 0.0]  # from left to right, above the net


@pytest.mark.parametrize(
    ("ball", "last", "legacy", "earned"),
    [
        (OVER_B, 0, False, [0.1, -0.01]),  # played over by the one, dropped by the other
        (OVER_B, 0, True, [0.1, -0.01]),
        (OVER_B, 1, False, [0.0, -0.01]),  # came back to who hit it: no shot
        (OVER_B, 1, True, [0.0, 0.09]),  # the original pays whoever; who earns, ...
        ([0.3, 3.0, -5.0, 0.0], 1, False, [-0.01, 0.1]),
        ([0.3, 3.0, -5.0, 0.0], 1, True, [-0.01, 0.1]),
        ([-1.5, -2.0, 5.0, 0.0], 0, False, [-0.01, 0.0]),  # into the net
        ([-1.5, -2.0, 5.0, 0.0], 1, False, [0.0, -0.01]),
        ([11.0, 3.0, 9.0, 0.0], 0, False, [-0.01, 0.0]),  # against the wall behind the other
        ([11.0, 3.0, 9.0, 0.0], 1, False, [0.0, -0.01]),
    ],
)
def test_who_earns_and_who_loses(ball, last, legacy, earned):
    world = court(ball, last=last, legacy=legacy)
    world._state["over"][0] = abs(ball[0]) < 0.55
    assert played(world)[1] == earned


def test_the_original_blames_the_left_for_what_the_right_plays_too_far():
    """A ball of player 1 flies over and against the left wall: its own fault, or (legacy) not."""
    for legacy, loser in ((False, 1), (True, 0)):
        world = court([0.3, 8.0, -9.0, 9.0], last=1, legacy=legacy)
        world._state["over"][0] = True
        _, earned = played(world)
        assert earned[loser] == pytest.approx(-0.01 + 0.1 * loser)


def test_who_is_not_to_blame_keeps_nothing_of_that_step():
    """A ball is paid as played over (legacy: to player 1) and touches the net in the same tick."""
    world = court([0.05, -0.45, 9.0, -9.0], last=1, legacy=True, zone=0.1)
    world._state["over"][0] = True
    assert played(world) == (1, [-0.01, 0.0])


def test_no_hits_no_score():
    """-0.01 for one of the two: a mean of -0.005. (Where no racket stands below the ball.)"""
    world = make("tennis", num_worlds=400)
    world.reset()
    s = world._state
    s["rackets"][:, 0, 0], s["rackets"][:, 1, 0] = -2.0, 2.0
    done = np.zeros(400, bool)
    for _ in range(15):
        turn = world.step({"players": np.zeros((400, 2, 2), np.float32)})
        done |= turn.done
    assert done.all()
    assert s["earned"].mean() == pytest.approx(-0.005)
    assert turn.metrics["score"].max() == 0.0
    assert 0.4 < (s["earned"][:, 0] < 0).mean() < 0.6  # a fair coin


def test_mirrored_players_play_the_mirrored_game():
    rng = np.random.default_rng(0)
    worlds = [make("tennis", num_worlds=64) for _ in range(2)]
    for world in worlds:
        world.reset()
    one, other = (world._state for world in worlds)
    flip = np.array([-1.0, 1.0, -1.0, 1.0])
    other["rackets"][:] = one["rackets"][:, ::-1] * flip
    other["ball"][:] = one["ball"] * flip
    hits = 0
    for _ in range(60):
        actions = rng.uniform(-1, 1, (64, 2, 2)).astype(np.float32)
        a = worlds[0].step({"players": actions})
        b = worlds[1].step({"players": np.ascontiguousarray(actions[:, ::-1])})
        np.testing.assert_array_equal(a.reward["players"], b.reward["players"][:, ::-1])
        np.testing.assert_allclose(
            a.observation["players"][..., -8:],
            b.observation["players"][:, ::-1, -8:],
            atol=1e-5,
        )
        hits += (one["last"] >= 0).sum()
    assert hits > 100


def test_frames_are_stacked_oldest_first():
    world = make("tennis", seed=3)
    first = world.reset()["players"]
    assert not first[..., :16].any()
    second = world.step({"players": STILL}).observation["players"]
    np.testing.assert_array_equal(second[..., 8:16], first[..., 16:])
    assert not second[..., :8].any()
    third = world.step({"players": STILL}).observation["players"]
    np.testing.assert_array_equal(third[..., :16], second[..., 8:])


def test_it_keeps_what_worlds_promise_and_is_drawn():
    world = make("tennis", num_worlds=3, episode_length=7)
    check_world(world)
    assert draw(world.scene(1)).std() > 0
    turn = world.step({"players": np.zeros((3, 2, 2), np.float32)})
    world.reset()
    for _ in range(7):
        turn = world.step({"players": np.zeros((3, 2, 2), np.float32)})
    assert turn.truncated.all()
    assert not turn.terminated["players"].any()


def test_golden_rally():
    """Guards against drift: a rally between players who run after the ball and jump."""
    world = make("tennis", num_worlds=8, seed=11)
    seen = world.reset()["players"]
    for _ in range(60):
        frame = seen[..., -8:]
        run = np.clip(frame[..., 4] - 0.5 - frame[..., 0], -1, 1)
        jump = (frame[..., 5] < 1.0).astype(np.float32)
        seen = world.step({"players": np.stack([run, jump], -1)}).observation["players"]
    s = world._state
    ball = [10.41371874, 6.90170189, 50.11765488, -20.6758988]
    np.testing.assert_allclose(s["ball"].sum(0), ball, atol=1e-6)
    np.testing.assert_allclose(s["earned"].sum(0), [0.58, 0.59], atol=1e-6)
    rackets = [9.39992496, -13.22560995, 60.1278162, 28.72625373]
    np.testing.assert_allclose(s["rackets"].sum((0, 1)), rackets, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"legacy": True}, {"zone": 0.1}, {"zone": 1.0}])
def test_who_foresees_where_the_ball_lands_never_misses(settings):
    """2.6 is what a rally that never ends is worth in 1000 steps."""
    world = make("tennis", num_worlds=20, seed=1, **settings)
    policy = BUILTIN["landing"](world)
    *_, (_, last) = itertools.islice(collect(world, policy), 1000)
    assert last.truncated.all()
    np.testing.assert_allclose(last.metrics["score"], 2.6, atol=1e-5)
