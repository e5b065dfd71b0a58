"""`Part`: a fact that was read, is not there, or could not be looked at. The three never mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """We looked and it is not there. `why` says where we looked."""

    absent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """We could not look. `why` is the reason, as a sentence for people."""

    unknown: str


Part: TypeAlias = T | Absent | Unknown


def known(part: T | Absent | Unknown) -> T | None:
    """The value, or None where it is absent or unknown: only where both mean the same to the caller."""
    return None if isinstance(part, (Absent, Unknown)) else part
