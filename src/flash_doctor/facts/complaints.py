"""The error catalogue behind `doctor explain`: which message means what, how to tell causes apart, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from string import Formatter
from typing import TYPE_CHECKING, Annotated

from flash_doctor.facts.kinds import NAME, Parsed
from flash_doctor.facts.loading import Source, Table, TableSection
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


def _question(text: str) -> Question:
    return Question(text=text)


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """One complaint. It is there where one of `patterns` is found, one of `near` stands around, and none of `unless`.

    Patterns are in lower case, since they are searched in text whose ASCII letters were made small; `stage` orders
    causes (a lower one comes first), `rank` decides between complaints on one line, and `absorbs` names the complaints
    (or families) that this one explains. `asked` are questions about it; they are looked for only in a short text
    without a known message. `title` and `cause` may hold {names} of groups in every pattern.
    """

    id: Annotated[str, NAME]
    family: str
    title: str
    patterns: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    cause: str
    tell_apart: tuple[str, ...] = ()
    advice: str
    commands: tuple[str, ...] = ()
    stage: int
    rank: int = 50
    absorbs: tuple[str, ...] = ()
    confidence: Confidence
    asked: tuple[Annotated[Question, Parsed(_question)], ...] = ()
    threads: tuple[str, ...] = ()
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

    name: Annotated[str, NAME]
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

    words: Annotated[Mapping[str, str], TableSection("word", column="means")]
    by_id: Annotated[Mapping[str, Complaint], TableSection("complaint")]
    libraries: Annotated[tuple[Library, ...], TableSection("library")]
    landmarks: Annotated[tuple[Landmark, ...], TableSection("landmark")]

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
    written = table.whole(Complaints)
    spelt = {name: _spelt(row, written.words) for name, row in written.by_id.items()}
    for row in spelt.values():
        for key, why in (*_bad_patterns(row), *_bad_names(row)):
            table.fault(f"complaint.{row.id}", key, why)
    table.finish()
    return replace(written, by_id=spelt)


def _spelt(row: Complaint, words: Mapping[str, str]) -> Complaint:
    """The row with each {word} of its regular expressions spelt out."""

    def spell(text: str) -> str:
        return _WORD.sub(lambda word: f"(?:{words[word[1]]})" if word[1] in words else word[0], text)

    return replace(
        row,
        patterns=tuple(map(spell, row.patterns)),
        near=tuple(map(spell, row.near)),
        unless=tuple(map(spell, row.unless)),
        asked=tuple(Question(text=spell(question.text)) for question in row.asked),
    )


def _bad_patterns(row: Complaint) -> Iterator[tuple[str, str]]:
    """A word that is none, and a regular expression that is none or can match nothing at all."""
    asked = tuple(question.text for question in row.asked)
    for key, texts in (("patterns", row.patterns), ("near", row.near), ("unless", row.unless), ("asked", asked)):
        for text in texts:
            for word in sorted(set(_WORD.findall(text))):
                yield key, f"{{{word}}} is not among the words"
            for part in text.split(" & "):
                if reason := fault(part.removeprefix("!")):
                    yield key, f"{part.removeprefix('!')!r} {reason}"


def _bad_names(row: Complaint) -> Iterator[tuple[str, str]]:
    """Every {name} in the texts must be a group of every pattern."""
    texts = (row.title, row.cause, row.advice, *row.commands)
    names = {name for text in texts for _, name, _, _ in Formatter().parse(text) if name is not None}
    for text in row.patterns:
        for name in sorted(names - set(_GROUP.findall(text))):
            yield "patterns", f"{text!r} has no group {name}"
