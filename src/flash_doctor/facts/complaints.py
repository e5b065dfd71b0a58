"""The error catalogue behind `doctor explain`: which message means what, how to tell causes apart, what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import TYPE_CHECKING

from flash_doctor.facts.loading import Row, Source, Table
from flash_doctor.model.explanation import Confidence

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """One complaint. It is there where one of `patterns` is found, one of `near` stands around, and none of `unless`.

    Patterns are in lower case, since they are searched in text whose ASCII letters were made small; `stage` orders
    causes (a lower one comes first), `rank` decides between complaints on one line, and `absorbs` names the complaints
    (or families) that this one explains. `asked` are topics of a question about it (with ~: shared with others); they
    are looked for only in a short text without a known message. `title` and `cause` may hold {names} of groups in
    every pattern.
    """

    id: str
    family: str
    title: str
    patterns: tuple[str, ...]
    near: tuple[str, ...]
    unless: tuple[str, ...]
    cause: str
    tell_apart: tuple[str, ...]
    advice: str
    commands: tuple[str, ...]
    stage: int
    rank: int
    absorbs: tuple[str, ...]
    confidence: Confidence
    asked: tuple[str, ...]
    threads: tuple[str, ...]
    source: Source

    @cached_property
    def topics(self) -> tuple[tuple[bool, re.Pattern[str]], ...]:
        """What a question about it speaks of: (whether the topic is its own, the pattern)."""
        return tuple((not text.startswith("~"), re.compile(text.removeprefix("~"))) for text in self.asked)

    @cached_property
    def finders(self) -> tuple[re.Pattern[str], ...]:
        return tuple(map(re.compile, self.patterns))

    @cached_property
    def near_finder(self) -> re.Pattern[str] | None:
        return _any_of(self.near)

    @cached_property
    def unless_finder(self) -> re.Pattern[str] | None:
        return _any_of(self.unless)


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Shared libraries, or the symbols in them, by the beginning of their name, and who brings them."""

    name: str
    symbols: tuple[str, ...]
    package: str
    what: str
    family: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmark:
    """A `part` of a symbol of torch, and what it says where the rest was cut off."""

    part: str
    says: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaints:
    """complaints.toml."""

    by_id: Mapping[str, Complaint]
    libraries: tuple[Library, ...]
    landmarks: tuple[Landmark, ...]

    def landmark(self, symbol: str) -> str:
        """What is known of a symbol by a part of its name; empty where nothing is."""
        return next((row.says for row in self.landmarks if row.part in symbol), "")

    def library_of_symbol(self, symbol: str) -> Library | None:
        """Which library of the CUDA family defines a symbol of that name."""
        return next((row for row in self.libraries if symbol.startswith(row.symbols)), None)

    def library_of_file(self, file: str) -> Library | None:
        """Which row a file such as libcudart.so.12 belongs to."""
        found = [row for row in self.libraries if file.startswith(row.name)]
        return max(found, key=lambda row: len(row.name), default=None)


def load(path: Path) -> Complaints:
    """Complaints from complaints.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    complaints = Complaints(
        by_id={row.name: _complaint(row) for row in table.rows("complaint")},
        libraries=tuple(map(_library, table.rows("library"))),
        landmarks=tuple(
            Landmark(part=row.text("part"), says=row.text("says"), source=row.source) for row in table.rows("landmark")
        ),
    )
    table.finish()
    return complaints


def _complaint(row: Row) -> Complaint:
    complaint = Complaint(
        id=row.name,
        family=row.text("family"),
        title=row.text("title"),
        patterns=_patterns(row, "patterns"),
        near=_patterns(row, "near"),
        unless=_patterns(row, "unless"),
        cause=row.text("cause"),
        tell_apart=_words(row, "tell_apart"),
        advice=row.text("advice"),
        commands=_words(row, "commands"),
        stage=row.number("stage"),
        rank=row.number("rank") if "rank" in row.fields else 50,
        absorbs=_words(row, "absorbs"),
        confidence=row.parse("confidence", row.text("confidence"), confidence, Confidence.POSSIBLE),
        asked=_patterns(row, "asked"),
        threads=_words(row, "threads"),
        source=row.source,
    )
    _check_placeholders(row, complaint)
    return complaint


def _library(row: Row) -> Library:
    return Library(
        name=row.name,
        symbols=row.words("symbols"),
        package=row.text("package"),
        what=row.text("what"),
        family=row.text("family"),
        source=row.source,
    )


def _words(row: Row, key: str) -> tuple[str, ...]:
    return row.words(key) if key in row.fields else ()


def _patterns(row: Row, key: str) -> tuple[str, ...]:
    """Regular expressions; one that cannot be compiled, or can match nothing at all, is a fault."""
    patterns = _words(row, key)
    for pattern in patterns:
        try:
            matches_nothing = re.compile(pattern).search("") is not None
        except re.error as error:
            row.fault(key, f"{pattern!r} is no regular expression: {error}")
            return ()
        if matches_nothing:
            row.fault(key, f"{pattern!r} matches the empty text")
    return patterns


def _check_placeholders(row: Row, complaint: Complaint) -> None:
    """Every {name} in the texts must be a group of every pattern."""
    texts = (complaint.title, complaint.cause, complaint.advice, *complaint.commands)
    names = {name for text in texts for _, name, _, _ in Formatter().parse(text) if name is not None}
    for pattern in complaint.patterns:
        for name in names - re.compile(pattern).groupindex.keys():
            row.fault("patterns", f"{pattern!r} has no group {name}")


def confidence(text: str) -> Confidence | None:
    """A word of the Confidence values."""
    return Confidence(text) if text in {member.value for member in Confidence} else None
