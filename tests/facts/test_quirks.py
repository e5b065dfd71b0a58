"""quirks.toml: the shipped rows, and that a broken one is refused with its place."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from flash_doctor.errors import BadFacts
from flash_doctor.facts import Facts, default_folder

if TYPE_CHECKING:
    from pathlib import Path

QUIRKS = Facts().quirks
OFFICIAL = "https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/flash_attn-2.8.3.whl"


@pytest.mark.parametrize(
    ("version", "torch", "abi", "known"),
    [
        ("2.8.3", "2.6", False, True),
        ("2.8.3", "2.6", True, False),
        ("2.8.3", "2.8", True, False),
        ("2.7.4.post1", "2.6", False, False),
        ("2.5.7", "2.3", None, True),
        ("2.5.8", "2.3", None, False),
    ],
)
def test_official_wheels_that_are_not_what_they_say(version: str, torch: str, abi: bool | None, known: bool) -> None:
    found = QUIRKS.faulty_wheel(OFFICIAL, Version(version), Version(torch), abi)
    assert (found is not None) is known


def test_another_publisher_is_not_blamed() -> None:
    assert QUIRKS.faulty_wheel("https://example.org/w.whl", Version("2.8.3"), Version("2.6"), False) is None


@pytest.mark.parametrize(
    ("release", "cuda", "served"),
    [
        ("0.45.0", "12.6", True),
        ("0.45.0", "12.8", False),
        ("0.47.0", "13.0", False),
        ("0.49.2", "13.0.2", True),
        ("0.49.2", "13.2", False),
        ("0.50.1", "13.1", True),
        ("0.50.1", "14.0", False),
    ],
)
def test_libraries_of_bitsandbytes(release: str, cuda: str, served: bool) -> None:
    row = QUIRKS.bitsandbytes_libraries(Version(release))
    assert row is not None
    assert row.serves(Version(cuda)) is served


def test_a_release_before_the_table_is_not_judged() -> None:
    assert QUIRKS.bitsandbytes_libraries(Version("0.41.0")) is None


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('first = "2.3.0"', 'first = "2.3.9"', "wheel.2: last: 2.3.1 is older than first"),
        ('source = "dao-issues"', 'source = "hearsay"', "wheel.1: source: 'hearsay' is none of the file's sources"),
        ('"0.43.1" = {', '"x" = {', "bitsandbytes.x: name: 'x' is no version"),
        ("certain = true\n", "", "wheel.1: certain: is missing"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, old: str, new: str, fault: str) -> None:
    shutil.copytree(default_folder(), tmp_path / "facts", ignore=shutil.ignore_patterns("wheels", "abi"))
    file = tmp_path / "facts" / "quirks.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadFacts) as raised:
        Facts(tmp_path / "facts").quirks  # noqa: B018
    assert any(fault in line for line in raised.value.evidence), raised.value.evidence
