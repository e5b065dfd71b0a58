"""Releases in words: ranges by series, what may lie beyond the atlas, and how the installed torch stands to them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, strategies as st
from packaging.version import Version

from flash_doctor.abi.built_for import BuiltFor, Standing, built_for, plain_release, ranges

ATLAS = tuple(
    Version(text)
    for text in ("7.0.0", "7.0.1", "7.1.0", "7.1.1", "7.1.2", "7.2.0", "7.9.0", "7.9.1", "7.10.0", "7.11.0")
)
DAYS = {release: datetime.date(2030, month, 1) for month, release in enumerate(ATLAS, 1)}


def pick(*texts: str) -> tuple[Version, ...]:
    return tuple(Version(text) for text in texts)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ((), ""),
        (("7.2.0",), "7.2"),
        (("7.0.0", "7.0.1"), "7.0"),
        (("7.0.0",), "7.0.0"),
        (("7.0.1",), "7.0.1"),
        (("7.1.1",), "7.1.1"),
        (("7.0.1", "7.1.0", "7.1.1", "7.1.2"), "7.0.1–7.1"),
        (("7.9.0", "7.9.1", "7.10.0"), "7.9–7.10"),
        (("7.2.0", "7.9.0"), "7.2–7.9.0"),
        (("7.0.0", "7.0.1", "7.2.0", "7.10.0", "7.11.0"), "7.0, 7.2, 7.10–7.11"),
        (("7.1.0", "7.1.2"), "7.1.0, 7.1.2"),
        (("7.1.1", "7.1.2"), "7.1.1–7.1.2"),
    ],
)
def test_ranges(texts: tuple[str, ...], words: str) -> None:
    assert ranges(pick(*texts), ATLAS) == words


def spelled_out(words: str) -> set[Version]:
    """The releases that a reader takes the words to mean."""
    meant: set[Version] = set()
    for part in filter(None, words.split(", ")):
        first, _, last = part.partition("–")
        inside = [release for release in ATLAS if _at_least(release, first) and _at_most(release, last or first)]
        meant.update(inside)
    return meant


def _at_least(release: Version, text: str) -> bool:
    return release >= Version(text)


def _at_most(release: Version, text: str) -> bool:
    bound = Version(text)
    return release <= bound or (text.count(".") == 1 and release.release[:2] == bound.release)


@given(chosen=st.sets(st.sampled_from(ATLAS)))
def test_words_mean_exactly_the_releases(chosen: set[Version]) -> None:
    assert spelled_out(ranges(sorted(chosen), ATLAS)) == chosen


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("7.2.0",), "built for torch 7.2 or a nightly on the way to 7.2"),
        (("7.1.1", "7.1.2"), "built for torch 7.1.1–7.1.2"),
        (("7.0.0", "7.0.1"), "built for torch 7.0 or older"),
        (("7.0.0", "7.0.1", "7.1.0", "7.1.1"), "built for torch 7.1.1 or older"),
        (("7.10.0", "7.11.0"), "built for torch 7.10 or newer, or a nightly on the way to 7.10"),
        (("7.11.0",), "built for torch 7.11 or newer, or a nightly on the way to 7.11"),
        (("7.2.0", "7.11.0"), "built for torch 7.2, 7.11 or a nightly on the way to 7.2"),
        ((), "built for no release of torch from 7.0 to 7.11: a nightly, a vendor's build, or another C++ ABI"),
    ],
)
def test_in_words(texts: tuple[str, ...], words: str) -> None:
    assert str(built_for(pick(*texts), ATLAS)) == words


def test_all_releases_are_told_as_such() -> None:
    assert str(built_for(ATLAS, ATLAS)) == "built for torch 7.0–7.11"


MIDDLE = pick("7.2.0", "7.9.0", "7.9.1")


@pytest.mark.parametrize(
    ("releases", "installed", "standing"),
    [
        (MIDDLE, "7.9.1+cu128", Standing.AMONG),
        (MIDDLE, "7.1.2", Standing.OLDER),
        (MIDDLE, "7.10.0", Standing.NEWER),
        (MIDDLE, "7.12.0", Standing.NEWER),
        (MIDDLE, "6.0", Standing.OLDER),
        (MIDDLE, "7.2.1", Standing.OUTSIDE),
        (pick("7.2.0", "7.10.0"), "7.9.0", Standing.BETWEEN),
        (pick("7.11.0"), "7.12.0", Standing.OUTSIDE),
        (pick("7.0.0"), "6.0", Standing.OUTSIDE),
        (MIDDLE, "7.9.0a0+41361538.nv23.06", Standing.OUTSIDE),
        (MIDDLE, "7.9.0.dev20300101+cu128", Standing.OUTSIDE),
        (MIDDLE, "7.9.0+nv24.5", Standing.OUTSIDE),
        ((), "7.9.0", Standing.NOT_ASKED),
    ],
)
def test_standing(releases: tuple[Version, ...], installed: str, standing: Standing) -> None:
    assert built_for(releases, ATLAS, installed=Version(installed)).standing is standing


@given(chosen=st.sets(st.sampled_from(ATLAS), min_size=1), installed=st.sampled_from(ATLAS))
def test_standing_agrees_with_the_order_of_releases(chosen: set[Version], installed: Version) -> None:
    found = built_for(sorted(chosen), ATLAS, installed=installed).standing
    assert (found is Standing.AMONG) == (installed in chosen)
    assert (found is Standing.OLDER) == (installed < min(chosen))
    assert (found is Standing.NEWER) == (installed > max(chosen))


@pytest.mark.parametrize("standing", Standing)
def test_every_standing_has_its_words(standing: Standing) -> None:
    answer = BuiltFor(releases=MIDDLE, atlas=ATLAS, nightly=None, standing=standing, installed=Version("7.10.0"))
    assert ("7.10.0" in str(answer)) == (standing is not Standing.NOT_ASKED)


def test_dates() -> None:
    before = built_for(MIDDLE, ATLAS, on=datetime.date(2030, 5, 31), released=DAYS)
    assert before.only_nightly
    assert before.dated == "none of these had come out by 2030-05-31: only a nightly on the way to 7.2 is left"
    partly = built_for(MIDDLE, ATLAS, on=datetime.date(2030, 6, 1), released=DAYS)
    assert not partly.only_nightly
    assert partly.dated == "of these only 7.2 had come out by 2030-06-01"
    assert built_for(MIDDLE, ATLAS, on=datetime.date(2031, 1, 1), released=DAYS).dated == ""
    assert built_for(MIDDLE, ATLAS).dated == ""
    patch = built_for(pick("7.1.1"), ATLAS, on=datetime.date(2030, 1, 1), released=DAYS)
    assert not patch.only_nightly
    assert patch.dated == "none of these had come out by 2030-01-01: none of them fits"


@pytest.mark.parametrize(
    ("version", "plain"), [("7.1.0", "7.1.0"), ("7.1.0+cu118", "7.1.0"), ("7.1.0rc1", None), ("7.1.0+git12ab", None)]
)
def test_plain_release(version: str, plain: str | None) -> None:
    assert plain_release(Version(version)) == (Version(plain) if plain else None)
