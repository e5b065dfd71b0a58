"""The policy on differences: every row is validated, and each fault is named by its row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadFacts
from flash_doctor.facts import Facts
from flash_doctor.facts.fleet import Degree, load
from flash_doctor.model.fleet import Effect

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
[sources]
paper = { what = "a paper", read = 2026-01-02 }
[aspect.torch]
title = "torch"
next = "install it"
[aspect.variable]
title = "variable"
next = "set it"
[[difference]]
aspect = "torch"
at = "any"
effect = "harmless"
why = "small"
source = "paper"
[[difference]]
aspect = "torch"
at = "minor"
effect = "breaks"
why = "large"
source = "paper"
[[difference]]
aspect = "variable"
at = "any"
effect = "slows"
why = "it steers"
source = "paper"
[[variable]]
names = ["NCCL_ALGO"]
effect = "breaks"
why = "they wait"
source = "paper"
[[clock]]
seconds = 2.0
effect = "slows"
why = "late"
source = "paper"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "fleet.toml"
    file.write_text(text)
    return file


def test_the_row_that_says_it_most_exactly_counts(tmp_path: Path) -> None:
    policy = load(written(tmp_path, GOOD))
    whys = {degree: policy.judge("torch", degree).why for degree in Degree}
    assert whys == {
        Degree.MISSING: "large",
        Degree.MAJOR: "large",
        Degree.MINOR: "large",
        Degree.MICRO: "small",
        Degree.ANY: "small",
    }
    assert policy.judge("NCCL_ALGO", Degree.ANY).effect is Effect.BREAKS
    assert policy.judge("NCCL_OTHER", Degree.ANY).effect is Effect.SLOWS
    assert policy.aspect("NCCL_OTHER").title == "variable"


def test_a_clock_counts_from_its_limit_on_in_both_directions(tmp_path: Path) -> None:
    policy = load(written(tmp_path, GOOD))
    assert policy.judge_clock(1.9) is None
    assert [row and row.why for row in map(policy.judge_clock, (2.0, -2.0, 99.0))] == ["late"] * 3


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('aspect = "torch"\nat = "minor"', 'aspect = "tourch"\nat = "minor"', "is none of the file's aspects"),
        ('at = "minor"', 'at = "tiny"', "'tiny' is no degree"),
        ('effect = "slows"', 'effect = "hurts"', "'hurts' is no effect"),
        ('at = "any"\neffect = "harmless"', 'at = "micro"\neffect = "harmless"', 'no difference with at = "any"'),
        ("seconds = 2.0", "seconds = -2.0", "must be more than 0"),
        ('title = "torch"\n', "", "title: is missing"),
        ('why = "late"\nsource = "paper"', 'why = "late"\nsource = "hearsay"', "is none of the file's sources"),
    ],
)
def test_a_faulty_row_is_named(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(BadFacts) as caught:
        load(written(tmp_path, GOOD.replace(old, new)))
    assert any(fault in each for each in caught.value.evidence)


def test_the_shipped_policy_is_sound_and_each_command_can_be_filled() -> None:
    policy = Facts().fleet
    for aspect in policy.aspects.values():
        assert aspect.command.format(python="p", usual="u", name="n", package="k") is not None
        assert aspect.next
    assert {judgement.effect for judgement in policy.differences.values()} == set(Effect)
