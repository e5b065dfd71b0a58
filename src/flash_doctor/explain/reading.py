"""A log as excerpts: the few lines that may matter, each with what stands around it, in one pass and bounded memory.

Most of a log is noise: a handful of words, searched at memory speed in blocks of 1 MB, decide which lines are looked
at. A line may be of any length; what is kept of it, and of its surroundings, is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flash_doctor.explain.cleaning import clean_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 20
BEFORE, AFTER = 6144, 4096  # bytes of context
LINE = 2048  # bytes of a line on each side of the word that was found
FLOW = 4  # lines that a wrapped message may take
WRAPPED = 240  # columns: a longer line was not wrapped
HEAD = 1 << 16

# Every complaint's line holds one of these words, in any case of letters.
TRIGGERS = (
    b"rror",
    b"warn",
    b"fail",
    b"not ",
    b"undefined",
    b"no module",
    b"no space",
    b"no matching",
    b"require",
    b"killed",
    b"fatal",
    b"mismatch",
    b"unsupported",
    b"unable to",
    b"only support",
    b"building wheel",
    b"too old",
    b"too long",
)
SMALL = 1 << 16  # a text of at most so many bytes was pasted by somebody: every line of it is looked at


class Readable(Protocol):
    """A binary stream; a pipe may give fewer bytes than asked for."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A candidate `line` (cleaned) at `number`, the `flow` of it and the lines after as one, and the text `around`."""

    number: int
    line: str
    flow: str
    around: str


class Log:
    """One pass over a stream; `lines`, `size` and `head` (its first 64 KiB) are complete when the pass has ended."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._strip_nul = False
        self.lines = 0
        self.size = 0
        self.head = ""

    def excerpts(self) -> Iterator[Excerpt]:
        window = _Window()
        for block in self._blocks():
            window.every_line = window.every_line and self.size < SMALL
            yield from window.search(block, last=False)
        yield from window.search(b"", last=True)
        self.lines = window.line - 1 + bool(self.size and not window.ended)

    def _blocks(self) -> Iterator[bytes]:
        while block := self._stream.read(CHUNK):
            if not self.size:
                self._strip_nul = _is_utf16(block)
            self.size += len(block)
            block = block.replace(b"\0", b"") if self._strip_nul else block
            if len(self.head) < HEAD:
                self.head += block[: HEAD - len(self.head)].decode("utf-8", "replace")
            yield block


def _is_utf16(block: bytes) -> bool:
    """Whether every other byte is a NUL: what PowerShell's redirection writes."""
    return block[:2] in (b"\xff\xfe", b"\xfe\xff") or block.count(0) > len(block) // 4


class _Window:
    """The blocks as one sliding window: context before, what is searched, context after."""

    def __init__(self) -> None:
        self.text = b""
        self.searched = 0  # offset up to which lines were given out
        self.counted = 0  # offset up to which line ends were counted
        self.line = 1  # the number of the line at `counted`
        self.ended = True  # whether the text ends with a line's end
        self.every_line = True

    def search(self, block: bytes, *, last: bool) -> Iterator[Excerpt]:
        self.text += block
        self.ended = self.text.endswith(b"\n") if self.text else True
        end = len(self.text) if last else max(self.searched, len(self.text) - AFTER)
        for start, stop in self._candidates(end):
            yield self._excerpt(start, stop)
            self.searched = max(self.searched, stop)
        self.searched = max(self.searched, end)
        self._count_to(end)
        self._forget(max(0, end - BEFORE))

    def _candidates(self, end: int) -> list[tuple[int, int]]:
        """Where the lines that hold a trigger start and stop, in order."""
        if self.every_line:
            return list(self._lines(end))
        lowered, found = self.text.lower(), {}
        for trigger in TRIGGERS:
            at = lowered.find(trigger, self.searched, end)
            while at >= 0:
                start, stop = _line_bounds(self.text, at, self.searched)
                found[start] = stop
                at = lowered.find(trigger, max(stop, at + 1), end)
        return sorted(found.items())

    def _lines(self, end: int) -> Iterator[tuple[int, int]]:
        at = self.searched
        while at < end:
            _, stop = _line_bounds(self.text, at, at)
            yield at, stop
            at = stop + 1

    def _excerpt(self, start: int, stop: int) -> Excerpt:
        self._count_to(start)
        line = clean_lines(self.text[start:stop], 1)[0]
        wrapped = clean_lines(self.text[start : stop + AFTER // 2], FLOW) if len(line) <= WRAPPED else [line]
        around = self.text[max(0, start - BEFORE) : stop + AFTER].decode("utf-8", "replace")
        return Excerpt(self.line, line, " ".join(wrapped), around)

    def _count_to(self, offset: int) -> None:
        if offset > self.counted:
            self.line += self.text.count(b"\n", self.counted, offset)
            self.counted = offset

    def _forget(self, offset: int) -> None:
        """Drop what no excerpt will need; `counted` is never before it."""
        offset = min(offset, self.counted)
        self.text = self.text[offset:]
        self.searched = max(0, self.searched - offset)
        self.counted -= offset


def _line_bounds(text: bytes, at: int, least: int) -> tuple[int, int]:
    """The line around `at`; a carriage return ends a line too, since a progress bar writes over itself."""
    low, high = max(0, at - LINE), at + LINE
    start = max(text.rfind(b"\n", low, at), text.rfind(b"\r", low, at), low - 1) + 1
    stops = [stop for end in (b"\n", b"\r") if (stop := text.find(end, at, high)) >= 0]
    return max(start, min(least, at)), min(stops, default=min(high, len(text)))
