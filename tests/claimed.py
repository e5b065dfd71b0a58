"""A value back from its JSON form, for tests that made it themselves."""

from __future__ import annotations

from typing import Any, TypeVar

from flash_doctor.system.claims import Claimed
from flash_doctor.system.codec import decode

T = TypeVar("T")


def decoded(kind: type[T], data: Any) -> T:
    return decode(kind, Claimed(data, "a test")).unproved()
