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
from flash_doctor.system.linear import AnyOf, Choice, Pattern, fault, pattern

if TYPE_CHECKING:
    from pathlib import Path

_WORD = re.compile(r"\{([a-z_]+)\}")
_GROUP = re.compile(r"\(\?P<(\w+)>")


@dataclass(frozen=True, kw_only=True)
class Question:
    """A short text asks it that holds every term of `text` (they stand between ` & `), and none of those with `!`."""

    text: str

    @cached_property
    def terms(self) -> tuple[Pattern, ...]:
        return tuple(pattern(term) for term in self.text.split(" & ") if not term.startswith("!"))

    @cached_property
    def never(self) -> tuple[Pattern, ...]:
        return tuple(pattern(term[1:]) for term in self.text.split(" & ") if term.startswith("!"))

    def weight(self, lowered: bytes) -> tuple[int, int]:
        """How special it is where the text asks it: the number of terms, then of letters they matched; else 0."""
        found = [term.search(lowered) for term in self.terms]
        if any(term.search(lowered) for term in self.never) or not all(found):
            return 0, 0
        return len(found), sum(len(str(match)) for match in found)


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """One complaint. It is there where one of `patterns` is found, one of `near` stands around, and none of `unless`.

    Patterns are in lower case, since they are searched in text whose ASCII letters were made small; `stage` orders
    causes (a lower one comes first), `rank` decides between complaints on one line, and `absorbs` names the complaints
    (or families) that this one explains. `asked` are questions about it; they are looked for only in a short text
    without a known message. `title` and `cause` may hold {names} of groups in every pattern.
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
    asked: tuple[Question, ...]
    threads: tuple[str, ...]
    source: Source

    @cached_property
    def near_any(self) -> AnyOf:
        return AnyOf(self.near)

    @cached_property
    def unless_any(self) -> AnyOf:
        return AnyOf(self.unless)


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


@dataclass(frozen=True, kw_only=True)
class Complaints:
    """complaints.toml."""

    by_id: Mapping[str, Complaint]
    libraries: tuple[Library, ...]
    landmarks: tuple[Landmark, ...]

    @cached_property
    def ranked(self) -> tuple[Complaint, ...]:
        """The complaint of the highest rank first."""
        return tuple(sorted(self.by_id.values(), key=lambda complaint: -complaint.rank))

    @cached_property
    def patterns(self) -> Choice:
        """Every pattern of every complaint, in the order of `ranked`."""
        return Choice([text for complaint in self.ranked for text in complaint.patterns])

    @cached_property
    def by_pattern(self) -> tuple[Complaint, ...]:
        """The complaint of each of `patterns`."""
        return tuple(complaint for complaint in self.ranked for _ in complaint.patterns)

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
    words = {row.name: row.text("means") for row in table.rows("word")}
    complaints = Complaints(
        by_id={row.name: _complaint(row, words) for row in table.rows("complaint")},
        libraries=tuple(map(_library, table.rows("library"))),
        landmarks=tuple(
            Landmark(part=row.text("part"), says=row.text("says"), source=row.source) for row in table.rows("landmark")
        ),
    )
    table.finish()
    return complaints


def _complaint(row: Row, words: Mapping[str, str]) -> Complaint:
    complaint = Complaint(
        id=row.name,
        family=row.text("family"),
        title=row.text("title"),
        patterns=_patterns(row, "patterns", words),
        near=_patterns(row, "near", words),
        unless=_patterns(row, "unless", words),
        cause=row.text("cause"),
        tell_apart=_words(row, "tell_apart"),
        advice=row.text("advice"),
        commands=_words(row, "commands"),
        stage=row.number("stage"),
        rank=row.number("rank") if "rank" in row.fields else 50,
        absorbs=_words(row, "absorbs"),
        confidence=row.parse("confidence", row.text("confidence"), confidence, Confidence.POSSIBLE),
        asked=tuple(Question(text=text) for text in _patterns(row, "asked", words)),
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


def _patterns(row: Row, key: str, words: Mapping[str, str]) -> tuple[str, ...]:
    """Regular expressions, with each {word} spelt out; one that is none, or can match nothing at all, is a fault."""
    spelt = [_spelt(row, key, text, words) for text in _words(row, key)]
    for text in spelt:
        for part in text.split(" & "):
            _check(row, key, part.removeprefix("!"))
    return tuple(spelt) if not row.table.faults else ()


def _spelt(row: Row, key: str, text: str, words: Mapping[str, str]) -> str:
    for name in set(_WORD.findall(text)):
        if name not in words:
            row.fault(key, f"{{{name}}} is not among the words")
        text = text.replace(f"{{{name}}}", f"(?:{words.get(name, name)})")
    return text


def _check(row: Row, key: str, text: str) -> None:
    if reason := fault(text):
        row.fault(key, f"{text!r} {reason}")


def _check_placeholders(row: Row, complaint: Complaint) -> None:
    """Every {name} in the texts must be a group of every pattern."""
    texts = (complaint.title, complaint.cause, complaint.advice, *complaint.commands)
    names = {name for text in texts for _, name, _, _ in Formatter().parse(text) if name is not None}
    for text in complaint.patterns:
        for name in names - set(_GROUP.findall(text)):
            row.fault("patterns", f"{text!r} has no group {name}")


def confidence(text: str) -> Confidence | None:
    """A word of the Confidence values."""
    return Confidence(text) if text in {member.value for member in Confidence} else None
