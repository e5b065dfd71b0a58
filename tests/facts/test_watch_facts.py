"""watch.toml: the shipped rows, and that a broken one is refused with its place."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadFacts
from flash_doctor.facts import Facts, default_folder
from flash_doctor.facts.watch import FILE

if TYPE_CHECKING:
    from pathlib import Path

FACTS = Facts().watch


def test_every_limit_has_its_rule_and_every_rule_its_source() -> None:
    assert {limit.code for limit in FACTS.limits} <= FACTS.rules.keys()
    assert all(rule.source.what for rule in FACTS.rules.values())
    assert all(limit.source.what for limit in FACTS.limits)


def test_what_crosses_a_limit() -> None:
    (kl,) = (limit for limit in FACTS.limits if limit.code == "W-grpo-kl")
    assert kl.crossed(2.1)
    assert not kl.crossed(2.0)
    assert not kl.crossed(math.inf)
    assert not kl.crossed(math.nan)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('trainer = "any"', 'trainer = "all"', "rule.W-nan: trainer: is none of any, ebft, grpo, preference, sft"),
        ('code = "W-loss-zero"', 'code = "W-nothing"', "limit.1: code: no such rule"),
        ("equal = 0.0\n", "equal = 0.0\nabove = 1.0\n", "limit.1: above: must have one of above, below, equal"),
        ("count = 2\nwindow = 2", "count = 3\nwindow = 2", "limit.1: count: must lie between 1 and window"),
        ('severity = "error"', 'severity = "fatal"', "limit.1: severity: 'fatal' is no severity"),
        ("yellow = 0.6", "yellow = 0.9", "numbers.disk: yellow: must be below red"),
        ("deviations = 6.0", "deviations = -6.0", "numbers.spike: deviations: must be above 0"),
        ("[numbers.kl]", "[numbers.kll]", "numbers.kl: name: the numbers are spike,"),
        ('source = "trainer"', 'source = "hearsay"', "rule.W-nan: source: 'hearsay' is none of the file's sources"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, old: str, new: str, fault: str) -> None:
    folder = tmp_path / "facts"
    (folder / "preflight").mkdir(parents=True)
    shutil.copy(default_folder() / FILE, folder / FILE)
    text = (folder / FILE).read_text(encoding="utf-8")
    assert old in text
    (folder / FILE).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadFacts) as raised:
        Facts(folder).watch  # noqa: B018
    assert any(fault in line for line in raised.value.evidence), raised.value.evidence
