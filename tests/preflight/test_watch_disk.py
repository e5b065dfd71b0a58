"""Judging the disk and the checkpoints, with hand-computed numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flash_doctor.model import Finding, Severity
from flash_doctor.watch.disk import DiskState, Saved, Space, judge_disk, judge_saved
from flash_doctor.watch.robust import slope
from flash_doctor.watch.trainer_files import Settings
from watch_runs import FACTS

GB = 10**9


def looks(*percents: float, seconds: float = 60.0, red: float = 0.8) -> list[tuple[int, Finding]]:
    """The findings of looks at a disk of 100 GB, each with its number."""
    state, told = DiskState(red=red), []
    for index, percent in enumerate(percents):
        space = Space(used=int(percent * GB), free=int((100 - percent) * GB))
        state, findings = judge_disk(state, index * seconds, space, "out", FACTS)
        told += [(index, finding) for finding in findings]
    return told


def test_yellow_and_red_are_told_once_each() -> None:
    told = looks(50, 61, 70, 79, 81, 90)
    assert [(index, finding.severity) for index, finding in told] == [(1, Severity.WARNING), (4, Severity.ERROR)]
    assert {finding.code for _, finding in told} == {"W-disk"}


def test_red_at_the_first_look() -> None:
    assert [(index, finding.severity) for index, finding in looks(95)] == [(0, Severity.ERROR)]


def test_a_disk_at_the_border_does_not_flicker() -> None:
    assert len(looks(61, 59.5, 61, 59, 61)) == 1
    assert [finding.severity for _, finding in looks(61, 50, 61)] == [Severity.WARNING, Severity.INFO, Severity.WARNING]


def test_a_limit_of_the_user() -> None:
    told = looks(20, 35, 45, 52, red=0.5)
    assert [(index, finding.severity) for index, finding in told] == [(2, Severity.WARNING), (3, Severity.ERROR)]
    assert looks(85, red=0.9)[0][1].severity is Severity.WARNING


def test_the_time_left_at_the_present_rate() -> None:
    _, finding = looks(55, 57, 59, 61)[0]  # 2 GB a minute, 39 GB free
    assert "full in 19 min at the present rate of 120 GB an hour" in finding.summary


def test_the_time_left_where_the_disk_grows_in_leaps() -> None:
    _, finding = looks(*[50] * 9, 61)[0]  # 11 GB in 9 minutes, 39 GB free
    assert "full in 31 min" in finding.summary


def test_no_time_is_promised_without_growth() -> None:
    assert "full in" not in looks(61)[0][1].summary
    assert "full in" not in looks(65, 50, 61)[-1][1].summary


def test_a_rate_is_kept_in_bounded_memory_over_the_whole_time() -> None:
    state = DiskState(red=0.99)
    for second in range(20_000):
        state, _ = judge_disk(state, second, Space(used=second * 1000, free=10**12), "out", FACTS)
    assert len(state.points) <= 64
    assert state.points[0][0] == 0
    assert state.points[-1][0] > 19_000
    assert state.rate == pytest.approx(1000)


def test_one_leap_does_not_move_a_slope() -> None:
    points = [(float(x), 2.0 * x + (1000 if x == 7 else 0)) for x in range(20)]
    assert slope(points) == pytest.approx(2.0)
    assert slope([]) == slope([(1.0, 1.0)]) == 0


def saved(present: int = 2, **values: int | bool) -> Saved:
    return Saved(
        present=present,
        bytes=2 * GB,
        is_adapter=False,
        step=100 * present,
        max_steps=1000,
        save_steps=100,
        settings=Settings(values={"save_total_limit": 2, **values}),
    )


def found(saved: Saved, free: float = 1000.0) -> list[tuple[str, Severity]]:
    _, findings = judge_saved(frozenset(), saved, Space(used=0, free=int(free * GB)), "out", FACTS)
    return [(finding.code, finding.severity) for finding in findings]


def test_checkpoints_within_their_limit_are_healthy() -> None:
    assert found(saved(2)) == []
    assert found(saved(3)) == [], "the oldest is deleted after the newest is written"
    assert found(saved(4, load_best_model_at_end=True)) == [], "the best one is kept besides"
    assert found(replace(saved(9), settings=Settings())) == [], "no limit, none broken"


def test_checkpoints_that_are_not_deleted() -> None:
    assert found(saved(4)) == [("W-checkpoints", Severity.WARNING)]


def test_an_adapter_that_is_more_than_an_adapter() -> None:
    heavy = replace(saved(2), bytes=6 * GB)
    assert found(heavy) == []
    assert found(replace(heavy, is_adapter=True)) == [("W-checkpoint-size", Severity.WARNING)]


def test_room_for_the_checkpoints_to_come() -> None:
    assert found(saved(1), free=4.1) == [], "one kept, two more at once: 4 GB"
    assert found(saved(1), free=3.9) == [("W-disk-eta", Severity.ERROR)]
    assert found(saved(3), free=0.1) == [], "each new one takes the place of a deleted one"
    endless = replace(saved(2), settings=Settings(), bytes=2 * GB)
    assert found(endless, free=16.1) == [], "8 more until step 1000"
    assert found(endless, free=15.9) == [("W-disk-eta", Severity.ERROR)]
    assert found(replace(endless, max_steps=None), free=0.1) == [], "not known how many will come"


def test_the_step_at_which_the_disk_is_full() -> None:
    run = replace(saved(2), settings=Settings())
    _, findings = judge_saved(frozenset(), run, Space(used=0, free=5 * GB), "out", FACTS)
    assert "8 more checkpoints need 16 GB, 5 GB are free: the disk fills, at step 500" in findings[0].summary


def test_what_lasts_is_told_once_and_again_when_it_comes_back() -> None:
    told: frozenset[str] = frozenset()
    counts = []
    for present in (4, 5, 2, 4):
        told, findings = judge_saved(told, saved(present), None, "out", FACTS)
        counts.append(len(findings))
    assert counts == [1, 0, 0, 1]
