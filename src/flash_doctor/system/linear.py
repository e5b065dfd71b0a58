r"""Regular expressions in time linear to the text: the one door to RE2, whose automata never backtrack.

Text is bytes, matched byte by byte (a letter outside of ASCII is several): `\w`, `\d`, `\s` and `\b` are ASCII. There
are no lookarounds and no back references. What a search may cost at most is counted as `Work`, in steps: a step is a
byte that was read, times the states of the automaton that may be alive there. Tests hold the steps against the size of
a text, as no clock can.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import re2  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Sequence

# of one pattern, its automaton included; past it RE2 falls back from a table of states to a simulation, always right
_MEMORY = 40 << 10
_MUCH = 1 << 18
# the parts of a pattern that stand for themselves are runs of letters; what is no run: classes, escapes, groups, counts
_PARTS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|\(\?P<\w+>|\(\?:|\{\d*,?\d*\}|[a-z0-9_ ]+|.", re.DOTALL)
_RUN = 12  # letters that are looked for of a run: its last ones
# {0,40} and the like: counted repetition, whose automaton has a state for each count
_COUNTED = re.compile(r"\{(\d+),(\d+)\}")
_COUNTED_FROM = 4
# in bytes: what it costs to ask for the letters of all patterns, and those of each that has them there
_TREE, _LETTERS = 1500, 50
_LETTERS_TABLE = 12  # steps a byte of the table of all letters, which does not always fit into a core's cache
_CALL = 2000  # steps that a call costs beside the bytes it reads
_SHORT = 256  # bytes of a text that is not worth two passes
_TABLE = 2  # steps a byte where every state fits into the table


class NotLinear(ValueError):
    """A pattern that RE2 does not take: no regular expression, or one with a lookaround or a back reference."""


@dataclass(slots=True)
class Work:
    """What was done: `steps` (upper bound), `searches`."""

    steps: int = 0
    searches: int = 0

    def add(self, length: int, states: int = _TABLE) -> None:
        """One search in a text of `length` bytes."""
        self.searches += 1
        self.steps += _CALL + length * states


@dataclass(frozen=True, slots=True)
class Match:
    """A match in `text`: its `span` in bytes, and those of the named groups that took part."""

    text: bytes
    span: tuple[int, int]
    spans: Mapping[str, tuple[int, int]]

    @property
    def start(self) -> int:
        return self.span[0]

    def __getitem__(self, name: str) -> str:
        """What a group caught; empty where it took no part."""
        start, stop = self.spans.get(name, (0, 0))
        return self.text[start:stop].decode("utf-8", "replace")

    def __str__(self) -> str:
        return self.text[slice(*self.span)].decode("utf-8", "replace")


class Pattern:
    r"""One regular expression.

    A pattern that counts (`[^\n]{0,40}`) is searched in two passes: first without an upper count, which a small table
    answers at two steps a byte, and only where that holds as it stands. For some of them the second pass is a
    simulation, whose cost grows with the pattern.
    """

    def __init__(self, text: str, memory: int = _MEMORY) -> None:
        """Compile it, with so many bytes for its table; raises NotLinear."""
        self.text, self._memory = text, memory
        self._exact = _compiled(text, memory)
        self._names: Mapping[str, int] = {name.decode(): at for name, at in self._exact.groupindex.items()}

    @cached_property
    def _loose(self) -> Any:
        loose = _COUNTED.sub(_without_upper_count, self.text)
        return _compiled(loose, self._memory) if loose != self.text else self._exact

    @property
    def counts(self) -> bool:
        """Whether it is searched in two passes."""
        return self._loose is not self._exact

    def may_stand(self, text: bytes, work: Work | None = None, start: int = 0, stop: int | None = None) -> int | None:
        """Where the first pass finds it in `text[start:stop]` (an offset into `text`); None where it is surely not."""
        stop = len(text) if stop is None else stop
        if work:
            work.add(stop - start)
        found = self._loose.search(text, start, stop)
        return found.start() if found else None

    def search(self, text: bytes, work: Work | None = None) -> Match | None:
        """The first match."""
        if self.counts:
            if len(text) > _SHORT and self.may_stand(text, work) is None:
                return None
            if work:
                work.add(len(text), self._exact.programsize)
        elif work:
            work.add(len(text))
        return self._found(text, self._exact.search(text))

    def begins(self, text: bytes) -> bool:
        """Whether it matches at the beginning of the text."""
        return self._exact.match(text) is not None

    def every(self, text: bytes) -> list[Match]:
        """All matches that do not overlap, in order."""
        return [found for match in self._exact.finditer(text) if (found := self._found(text, match))]

    def places(self, text: bytes) -> list[int]:
        """Where the first pass finds it."""
        return [match.start() for match in self._loose.finditer(text)]

    def _found(self, text: bytes, match: Any) -> Match | None:
        if match is None:
            return None
        spans = {name: match.span(at) for name, at in self._names.items() if match.span(at)[0] >= 0}
        return Match(text, match.span(), spans)


class Choice:
    """Many patterns at once: of all of them, those whose letters stand in a text.

    The letters that a pattern cannot do without are looked for together, in one pass whose table is no larger than
    those letters, and of long words the last letters are enough: no text makes it slow, as some make a joint automaton
    of the patterns.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Compile all; raises NotLinear."""
        self._texts = tuple(patterns)
        self._filter = re2.Filter()
        try:
            for text in patterns:
                self._filter.Add(_with_short_runs(text).encode(), _options())
        except re2.error as error:
            raise NotLinear(_reason(error)) from None
        self._filter.Compile()
        self._patterns: dict[int, Pattern] = {}

    def __getitem__(self, index: int) -> Pattern:
        """The pattern at `index`, as it was given."""
        if index not in self._patterns:
            self._patterns[index] = Pattern(self._texts[index])
        return self._patterns[index]

    def possible(self, text: bytes, work: Work) -> list[int]:
        """Which patterns may stand in the text, in their order; all others surely do not."""
        indices = sorted(self._filter.Match(text, True) or ()) if self._texts else []
        work.add(_TREE + len(text) + _LETTERS * len(indices), _LETTERS_TABLE)
        return indices


class AnyOf:
    """One of several patterns."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)

    @cached_property
    def _pattern(self) -> Pattern:
        return Pattern("|".join(f"(?:{text})" for text in self.texts), memory=_MUCH)

    def stands(self, text: bytes, work: Work | None = None) -> bool:
        """Whether one of them matches."""
        return bool(self.texts) and self._pattern.search(text, work) is not None


@lru_cache(maxsize=4096)
def pattern(text: str) -> Pattern:
    """A pattern that is compiled once."""
    return Pattern(text)


def _with_short_runs(text: str) -> str:
    """A weaker pattern, which is only looked through for its letters: of a long run of them the last ones are left."""
    parts = _PARTS.findall(text)
    for place, part in enumerate(parts):
        if len(part) > _RUN and part[0] not in "[(\\{":
            repeated = place + 1 < len(parts) and parts[place + 1][0] in "?*+{"
            run, last = (part[:-1], part[-1]) if repeated else (part, "")
            parts[place] = f".*{run[-_RUN:]}{last}"
    return "".join(parts)


def fault(text: str) -> str:
    """What is wrong with a pattern: RE2 does not take it, or it matches where there is nothing; else nothing."""
    try:
        return "matches the empty text" if _compiled(text).search(b"") else ""
    except NotLinear as error:
        return f"is no regular expression of linear time: {error}"


def _without_upper_count(counted: re.Match[str]) -> str:
    return f"{{{counted[1]},}}" if int(counted[2]) >= _COUNTED_FROM else counted[0]


def _compiled(text: str, memory: int = _MEMORY) -> Any:
    try:
        return re2.compile(text.encode(), _options(memory))
    except re2.error as error:
        raise NotLinear(_reason(error)) from None


def _reason(error: Exception) -> str:
    argument = error.args[0] if error.args else ""
    return argument.decode("utf-8", "replace") if isinstance(argument, bytes) else str(argument)


@lru_cache(maxsize=8)
def _options(memory: int = _MEMORY) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = memory
    return options
