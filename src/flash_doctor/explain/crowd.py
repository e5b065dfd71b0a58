"""Many lines that may matter, close together: those are found in them that do, at the cost of reading them once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, compress
from typing import TYPE_CHECKING

from flash_doctor.explain.cleaning import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LINE = 2048  # bytes of a line on each side of the word that was found
OVERLAP = 512  # bytes that two pieces of a long line share, so that no message is cut
_PIECE = 2048  # bytes of lines that are looked at together: the fewer, the fewer patterns may stand in them
_AFTER = 2304  # bytes after them at most, for a message that the terminal wrapped
_FLOW = 4  # lines that such a message may take


class Lines:
    """The lines of a block, long ones in pieces that overlap: their `texts`, and where each of them `starts`."""

    def __init__(self, block: bytes) -> None:
        block = block.replace(b"\r", b"\n")
        self.texts: Sequence[bytes] = block.split(b"\n")
        self._without_digits = without_digits(block)
        self._cut = max(map(len, self.texts)) > 2 * LINE
        if self._cut:
            whole = zip(_starts(self.texts), self.texts, strict=False)
            pieces = [(start + begin, piece) for start, line in whole for begin, piece in _pieces(line)]
            self._starts, self.texts = [start for start, _ in pieces], [piece for _, piece in pieces]

    @cached_property
    def starts(self) -> Sequence[int]:
        return self._starts if self._cut else _starts(self.texts)

    def shapes(self) -> Sequence[int]:
        """A number for each line without its digits."""
        if self._cut:
            return [hash(without_digits(line)) for line in self.texts]
        return list(map(hash, self._without_digits.split(b"\n")))


def _starts(lines: Sequence[bytes]) -> list[int]:
    """Where each line begins where one sign stands between them, and at last where another one would."""
    return list(accumulate(map((1).__add__, map(len, lines)), initial=0))


def without_digits(text: bytes) -> bytes:
    """What lines have in common that differ in numbers only."""
    return text.translate(None, b"0123456789")


def _pieces(line: bytes) -> Iterator[tuple[int, bytes]]:
    """A line in pieces of bounded length, and where each begins."""
    size = 2 * LINE
    for begin in range(0, max(1, len(line) - OVERLAP), size - OVERLAP):
        yield begin, line[begin : begin + size]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some lines of a crowd as one `text` in small letters, of which the first `core` bytes are its own."""

    text: bytes
    core: int
    crowd: Crowd
    begin: int  # offset in the crowd's text
    first: int  # the first line of those that are not empty

    def line(self, at: int) -> tuple[int, int, int]:
        """The number of the line at the offset `at`, and the offsets of the next, and of where its flow ends."""
        starts = self.crowd.starts
        place = bisect_right(starts, self.begin + at, self.first) - 1
        end = starts[min(place + _FLOW, len(starts) - 1)]
        return self.crowd.numbers[place], starts[place + 1] - self.begin, min(end - self.begin, len(self.text))


class Crowd:
    """The lines of a part of a log, and what comes `after` them, as far as a message may be wrapped into it."""

    def __init__(self, lines: Sequence[bytes], after: bytes = b"") -> None:
        text = clean_text(b"\n".join([*lines, after[:_AFTER]]).decode("utf-8", "replace"))
        self.lines, self._own = text[: len(lines)], len(lines)
        words = "\n".join(text).encode("utf-8", "replace").lower().split(b"\n")
        self.numbers = list(compress(range(len(words)), words))
        full = list(filter(None, words))
        self._text = b" ".join(full)
        self.starts = _starts(full)

    def pieces(self) -> Iterator[Piece]:
        """All of it, piece by piece."""
        starts, count, first = self.starts, len(self.numbers), 0
        while first < count and self.numbers[first] < self._own:
            begin = starts[first]
            after = min(max(first + 1, bisect_left(starts, begin + _PIECE, first)), count)
            stop = min(starts[min(after + _FLOW - 1, count)], starts[after] + _AFTER)
            yield Piece(self._text[begin:stop], starts[after] - begin, self, begin, first)
            first = after
