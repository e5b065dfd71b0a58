"""The matrix told: a publisher's file, a cell of the coverage, what a refresh brought, a stack as the index sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One file of the matrix: its publisher, and the newest date in it."""

    publisher: str
    title: str
    file: Path
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One torch build (minor, CUDA tag) with one Python on one machine: each publisher's newest version."""

    machine: str
    torch: Version
    tag: str
    python: str
    newest: Mapping[str, Version]

    @property
    def empty(self) -> bool:
        return not self.newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What came of one publisher: wheels that are new, files that were replaced under a known name, or a fault."""

    publisher: str
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackVerdict:
    """`consistent` is None where nobody could be asked; `why` says how we know.

    `versions` are the complete set of the index's answer, `not_judged` requirements that exist as source only.
    """

    consistent: bool | None
    why: tuple[str, ...]
    versions: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()
