"""`@check`: registers a rule on an Environment. Its docstring is its documentation: `doctor explain CODE` prints it.

Its parameters name parts of the Environment (see `rules.engine`); one that is named `facts` gets the Facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from flash_doctor.model import Family
from flash_doctor.rules.engine import Found, Registry, Rule

F = TypeVar("F", bound=Callable[..., Iterable[Found]])
GIVEN = frozenset({"facts"})


@dataclass(frozen=True, kw_only=True)
class Check(Rule):
    """A rule of `check`: its family has a weight in the score; `host_only` rules need no Python."""

    family: Family
    host_only: bool = False


CHECKS: Registry[Check] = Registry("flash_doctor.diagnose")


def check(code: str, family: Family, *, host_only: bool = False) -> Callable[[F], F]:
    """Register a rule; `host_only` rules are those that `doctor check --host-only` makes."""

    def register(function: F) -> F:
        CHECKS.add(Check(code=code, function=function, family=family, host_only=host_only))
        return function

    return register


def all_checks() -> list[Check]:
    """Every registered check, by code."""
    return sorted(CHECKS.values(), key=lambda check: check.code)
