"""How far two values of an aspect are apart."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from flash_doctor.facts.fleet import Degree

_BY_PLACE = (Degree.MAJOR, Degree.MINOR, Degree.MICRO)


def degree(one: str | None, other: str | None) -> Degree:
    """By the first number in which two versions differ; words before them (`glibc 2.39`) must be the same."""
    if one is None or other is None:
        return Degree.MISSING
    (words, left), (other_words, right) = _versioned(one), _versioned(other)
    if words != other_words:
        # another product, as flash-attn 3 for flash-attn 2, or no versions at all
        return Degree.MAJOR if left and right else Degree.ANY
    if left is None or right is None:
        return Degree.ANY
    places = zip(_BY_PLACE, _release(left), _release(right), strict=False)
    return next((place for place, a, b in places if a != b), Degree.ANY)


def _release(version: Version) -> tuple[int, ...]:
    return (*version.release, 0, 0)[:3]


def _versioned(text: str) -> tuple[str, Version | None]:
    words, _, last = text.rpartition(" ")
    try:
        return words, Version(last)
    except InvalidVersion:
        return text, None
