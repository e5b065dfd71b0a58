"""What a stranger wrote is a claim, and stays one until its owner has proved it.

A reader of foreign bytes answers `Claimed[X]`, in which nothing can be looked up; the one `accept` of the module that
owns the format turns it into an `X`, after it has looked everything up again: addresses taken apart (`system.url`),
paths proved to lie inside (`system.inside`), owners and modes (`system.owner`), sizes and depth (`system.bounds`).
tests/test_claims.py lists who may unwrap.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar, final

T = TypeVar("T")

LARGEST = 1 << 40  # bytes of a file that anybody could mean
_SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)


def is_sha256(text: str) -> bool:
    """Whether it is one as we write them: 64 hexadecimal digits in small letters."""
    return _SHA256.fullmatch(text) is not None


@final
class Claimed(Generic[T]):
    """A value as a stranger wrote it; `origin` names the file or the address that it was read from, for messages."""

    __slots__ = ("_value", "origin")

    def __init__(self, value: T, origin: str) -> None:
        self._value, self.origin = value, origin

    def unproved(self) -> T:
        """The bare value: for the `accept` of its owner alone."""
        return self._value

    def __repr__(self) -> str:
        return f"Claimed({type(self._value).__name__} of {self.origin})"
