"""What `explain` says: causes in a log in their order, lines that nothing is known about, what a code means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from flash_doctor.model.report import Remedy


class Confidence(Enum):
    """How sure: the message (or the machine) leaves no other cause, one is the usual, or it is one of several."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of the log by its number (from 1), cleaned of colours and rank prefixes, secrets masked."""

    number: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One cause. `evidence` says how we know, `tell_apart` how to tell the causes that share the message.

    `lines` are the log's own lines (the first of each), `count` how often they came (`at_least`: or more often, where
    so many lines complain that not each of them was looked at); `consequences` are other complaints of the same log
    that this cause explains.
    """

    code: str
    family: str
    title: str
    cause: str
    evidence: tuple[str, ...]
    lines: tuple[LogLine, ...]
    remedies: tuple[Remedy, ...]
    confidence: Confidence
    tell_apart: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    count: int = 1
    at_least: bool = False
    consequences: tuple[Explanation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanations:
    """The whole answer: `unexplained` are the lines to look at where the log fails and no cause is known."""

    explanations: tuple[Explanation, ...]
    unexplained: tuple[LogLine, ...]
    lines_read: int
    bytes_read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a finding's `code` means: a sentence, the cause at length (paragraphs as in a docstring), what to do.

    `family` is empty where it is the name of the command.
    """

    code: str
    title: str
    cause: str
    remedy: str
    family: str = ""
    sources: tuple[str, ...] = ()
