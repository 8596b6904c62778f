import numpy as np
import pytest

from model.content.sampling import BUDGET_PIXELS, CANDIDATES, Thinned, choose, patch_starts, plan

VGA = 640 * 480


def stills(levels):
    return np.repeat(np.array(levels, np.uint8), 8 * 8 * 3).reshape(len(levels), 8, 8, 3)


def test_a_short_clip_is_read_straight_and_a_long_one_sought():
    assert plan(10, 30, VGA, (0, 1)).targets_s == ()
    assert len(plan(600, 30, VGA, (0, 1)).targets_s) == CANDIDATES


@pytest.mark.parametrize("seconds", [20, 60, 600, 36_000])
@pytest.mark.parametrize("pixels", [100, VGA, 1920 * 1080, 7680 * 4320])
def test_the_work_has_a_bound_whatever_the_length(seconds, pixels):
    todo = plan(seconds, 30, pixels, (0, 1))
    if todo.targets_s:
        assert len(todo.targets_s) * todo.forward * pixels <= max(BUDGET_PIXELS, 4 * pixels)
    else:
        assert seconds * 30 * max(pixels, VGA) <= BUDGET_PIXELS


def test_an_unknown_length_is_read_straight():
    assert plan(0, 30, VGA, (0, 1)).targets_s == ()


def test_targets_lie_inside_the_window():
    targets = plan(600, 30, VGA, (0.5, 1.0)).targets_s
    assert 300 < min(targets) < max(targets) < 600


def test_huge_pictures_are_taken_from_key_frames_alone():
    assert plan(60, 30, 7680 * 4320, (0, 1)).keys_only


def test_thinning_keeps_an_even_selection():
    thinned = Thinned(most=8)
    for number in range(1000):
        if thinned.wants():
            thinned.keep(float(number), np.zeros(1, np.uint8))
    times = [time for time, _ in thinned.kept]
    assert 4 <= len(times) <= 9
    assert len(set(np.diff(times))) == 1


def test_a_still_clip_is_sampled_by_time():
    chosen = choose(np.arange(100.0), stills([7] * 100), 5)
    assert chosen.tolist() == [0, 25, 50, 74, 99] or np.abs(np.diff(chosen) - 24.75).max() <= 1


def test_a_cut_has_a_picture_on_either_side():
    chosen = choose(np.arange(40.0), stills([0] * 33 + [200] * 7), 6)
    assert (chosen < 33).any()
    assert (chosen >= 33).sum() >= 1


def test_a_busy_stretch_gets_more_pictures_than_a_still_one():
    levels = [50] * 50 + [50 + 40 * (at % 2) for at in range(50)]
    chosen = choose(np.arange(100.0), stills(levels), 12)
    assert (chosen >= 50).sum() > (chosen < 50).sum()


@pytest.mark.parametrize("count", [1, 5, 12, 13, 60])
def test_as_many_as_asked_all_different_in_order(count):
    rng = np.random.default_rng(count)
    chosen = choose(np.arange(float(count)), rng.integers(0, 255, (count, 8, 8, 3)).astype(np.uint8), 12)
    assert len(chosen) == min(count, 12)
    assert (np.diff(chosen) > 0).all()


def test_patches_spread_over_the_sound():
    assert patch_starts(100, 100, 8).tolist() == [0]
    assert patch_starts(50, 100, 8).tolist() == [0]
    starts = patch_starts(1000, 100, 4)
    assert starts[0] == 0
    assert starts[-1] == 900
    assert len(starts) == 4
