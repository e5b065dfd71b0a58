"""A log as excerpts: the few lines that may matter, each with what stands around it, in one pass and bounded memory.

Most of a log is noise: a handful of words, searched at memory speed in blocks that fit a cache, decide which lines are
looked at. A line may be of any length; what is kept of it, and of its surroundings, is not.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from flash_doctor.explain.cleaning import clean_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK = 1 << 18  # fits a core's cache: eight searches over it cost one trip to memory
BEFORE, AFTER = 6144, 4096  # bytes of context
LINE = 2048  # bytes of a line on each side of the word that was found
FLOW = 4  # lines that a wrapped message may take
WRAPPED = 240  # columns: a longer line was not wrapped
HEAD = 1 << 16
CROWD = 200  # candidates in one block: more are told apart by their shape
_DULL_AFTER = 8  # lines of one shape without a complaint
_SHAPES_AT_MOST = 20_000
_DIGITS = b"0123456789"

# Every complaint's line holds one of these words, in any case of letters.
TRIGGERS = (
    b"rror",
    b"warn",
    b"fail",
    b"not ",
    b"undefined",
    b"require",
    b"killed",
    b"fatal",
)
SMALL = 1 << 16  # a text of at most so many bytes was pasted by somebody: every line of it is looked at


class Readable(Protocol):
    """A binary stream; a pipe may give fewer bytes than asked for."""

    def read(self, size: int, /) -> bytes: ...


class Excerpt:
    """A candidate `line` (cleaned) at `number`, the `flow` of it and the lines after as one, and the text `around`.

    Only what is asked for is computed: most candidates are passed over by their `shape`.
    """

    def __init__(self, number: int, text: bytes, start: int, stop: int) -> None:
        self.number = number
        self.raw = text[start:stop]
        self._text, self._start, self._stop = text, start, stop

    @cached_property
    def shape(self) -> bytes:
        """The line without its digits: equal for lines that differ in numbers only."""
        return self.raw.translate(None, _DIGITS)

    @cached_property
    def line(self) -> str:
        return clean_lines(self.raw, 1)[0]

    @cached_property
    def flow(self) -> str:
        if len(self.line) > WRAPPED:
            return self.line
        return " ".join(clean_lines(self._text[self._start : self._stop + AFTER // 2], FLOW))

    @cached_property
    def around(self) -> str:
        return self._text[max(0, self._start - BEFORE) : self._stop + AFTER].decode("utf-8", "replace")

    def settle(self) -> Excerpt:
        """Compute all and let go of the block, so that it can be kept."""
        _ = self.flow, self.around
        self._text = b""
        return self


class Log:
    """One pass over a stream; `lines`, `size` and `head` (its first 64 KiB) are complete when the pass has ended."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._strip_nul = False
        self._window = _Window()
        self.lines = 0
        self.size = 0
        self.head = ""

    def excerpts(self) -> Iterator[Excerpt]:
        window = self._window
        for block in self._blocks():
            window.every_line = window.every_line and self.size < SMALL
            yield from window.search(block, last=False)
        yield from window.search(b"", last=True)
        self.lines = window.line - 1 + bool(self.size and not window.ended)

    def pass_over(self, excerpt: Excerpt) -> None:
        """Nothing was found in it: when that was so often enough, lines of its shape are not given out any more."""
        self._window.dull.note(excerpt.shape)

    def _blocks(self) -> Iterator[bytes]:
        while block := self._stream.read(CHUNK):
            if not self.size:
                self._strip_nul = _is_utf16(block)
            self.size += len(block)
            block = block.replace(b"\0", b"") if self._strip_nul else block
            if len(self.head) < HEAD:
                self.head += block[: HEAD - len(self.head)].decode("utf-8", "replace")
            yield block


class _Dull:
    """Shapes of lines in which nothing was found, and how often."""

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self.shapes: set[bytes] = set()

    def is_plain(self, shape: bytes) -> bool:
        """Whether a shape holds no trigger at all; it is dull from now on."""
        plain = not _holds_trigger(shape)
        if plain and len(self.shapes) < _SHAPES_AT_MOST:
            self.shapes.add(shape)
        return plain

    def note(self, shape: bytes) -> None:
        if len(self._counts) >= _SHAPES_AT_MOST:
            self._counts.clear()
            self.shapes.clear()
        count = self._counts[shape] = self._counts.get(shape, 0) + 1
        if count >= _DULL_AFTER:
            self.shapes.add(shape)


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
        self.dull = _Dull()

    def search(self, block: bytes, *, last: bool) -> Iterator[Excerpt]:
        self.text += block
        self.ended = self.text.endswith(b"\n") if self.text else True
        end = len(self.text) if last else max(self.searched, len(self.text) - AFTER)
        for start, stop in self._candidates(end):
            self._count_to(start)
            excerpt = Excerpt(self.line, self.text, start, stop)
            if excerpt.shape not in self.dull.shapes:
                yield excerpt
            self.searched = max(self.searched, stop)
        self.searched = max(self.searched, end)
        self._count_to(end)
        self._forget(max(0, end - BEFORE))

    def _candidates(self, end: int) -> Iterable[tuple[int, int]]:
        """Where the lines that hold a trigger start and stop, in order."""
        if self.every_line:
            return self._lines(end)
        lowered, found = self.text.lower(), dict[int, int]()
        for trigger in TRIGGERS:
            at = lowered.find(trigger, self.searched, end)
            while at >= 0:
                start, stop = _line_bounds(self.text, at, self.searched)
                found[start] = stop
                if len(found) > CROWD:
                    return self._fresh_lines(end)
                at = lowered.find(trigger, max(stop, at + 1), end)
        return sorted(found.items())

    def _lines(self, end: int) -> Iterator[tuple[int, int]]:
        at = self.searched
        while at < end:
            _, stop = _line_bounds(self.text, at, at)
            yield at, stop
            at = stop + 1

    def _fresh_lines(self, end: int) -> Iterator[tuple[int, int]]:
        """Of a block full of triggers, the lines whose shape is not known to be dull: all lines at the cost of one."""
        text = self.text[self.searched : end]
        at = self.searched
        shapes = text.translate(None, _DIGITS).split(b"\n")
        for line, shape in zip(text.split(b"\n"), shapes, strict=True):
            if shape not in self.dull.shapes and not self.dull.is_plain(shape):
                yield from self._slices(at, at + len(line))
            at += len(line) + 1

    def _slices(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """A line in pieces of bounded length, each of which holds a trigger."""
        for begin in range(start, stop, 2 * LINE):
            end = min(begin + 2 * LINE, stop)
            if _holds_trigger(self.text[begin:end]):
                yield begin, end

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


def _holds_trigger(text: bytes) -> bool:
    lowered = text.lower()
    return any(trigger in lowered for trigger in TRIGGERS)


def _line_bounds(text: bytes, at: int, least: int) -> tuple[int, int]:
    """The line around `at`; a carriage return ends a line too, since a progress bar writes over itself."""
    low, high = max(0, at - LINE), at + LINE
    start = max(text.rfind(b"\n", low, at), text.rfind(b"\r", low, at), low - 1) + 1
    stops = [stop for end in (b"\n", b"\r") if (stop := text.find(end, at, high)) >= 0]
    return max(start, min(least, at)), min(stops, default=min(high, len(text)))
