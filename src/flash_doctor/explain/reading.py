"""A log as excerpts: the few lines that may matter, each with what stands around it, in one pass and bounded memory.

Most of a log is noise: a handful of words, searched at memory speed in blocks that fit a cache, decide which lines are
looked at. Where they stand everywhere, a line is passed over whose shape is known to be dull; where the shapes are new
(lines with ids), the catalogue sifts them as a crowd. A line may be of any length; what is kept of it, and of its
surroundings, is not.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from flash_doctor.explain.cleaning import Seen, clean_lines
from flash_doctor.explain.crowd import LINE, OVERLAP, Crowd, Lines, without_digits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

CHUNK = 1 << 17  # fits a core's cache: eight searches over it cost one trip to memory
BEFORE, AFTER = 6144, 4096  # bytes of context
FLOW = 4  # lines that a wrapped message may take
WRAPPED = 240  # columns: a longer line was not wrapped
HEAD = 1 << 16
CROWD = 100  # candidates in one block, or their shapes: more are told apart by their shape, or sifted
_DULL_AFTER = 8  # lines of one shape without a complaint
_SHAPES_AT_MOST = 20_000  # of which a number is kept each

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


class Sifter(Protocol):
    """Who knows what is looked for."""

    def earn(self, size: int, /) -> None:
        """So many more bytes were read."""

    def sift(self, crowd: Crowd, /) -> set[int]:
        """The lines of a crowd that are worth to be looked at."""


class _Everything:
    """Every line is worth it."""

    def earn(self, size: int, /) -> None:
        pass

    def sift(self, crowd: Crowd, /) -> set[int]:
        return set(range(len(crowd.lines)))


class Excerpt:
    """A candidate `line` (cleaned) at `number`, the `flow` of it and the lines after as one, and the text `around`.

    Only what is asked for is computed: most candidates are passed over by their `shape`.
    """

    def __init__(self, number: int, text: bytes, start: int, stop: int) -> None:
        self.number = number
        self.raw = text[start:stop]
        self._text, self._start, self._stop = text, start, stop

    @cached_property
    def shape(self) -> int:
        """A number for the line without its digits: equal for lines that differ in numbers only."""
        return hash(without_digits(self.raw))

    @cached_property
    def line(self) -> str:
        return clean_lines(self.raw, 1)[0]

    @cached_property
    def seen(self) -> Seen:
        """The line as it can be shown."""
        before = _last_piece(self._text[max(0, self._start - BEFORE) : self._start])
        after = _first_piece(self._text[self._stop : self._stop + AFTER])
        return Seen(self.line, before, self.raw, after) if before or after else Seen(self.line)

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
        _ = self.flow, self.around, self.seen
        self._text = b""
        return self


class Log:
    """One pass over a stream; `lines`, `size` and `head` (its first 64 KiB) are complete when the pass has ended."""

    def __init__(self, stream: Readable, sifter: Sifter | None = None) -> None:
        self._stream, self._sifter = stream, sifter or _Everything()
        self._strip_nul = False
        self._window = _SlidingWindow(self._sifter)
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
            self._sifter.earn(len(block))
            block = block.replace(b"\0", b"") if self._strip_nul else block
            if len(self.head) < HEAD:
                self.head += block[: HEAD - len(self.head)].decode("utf-8", "replace")
            yield block


class _Dull:
    """Shapes of lines in which nothing was found, and how often."""

    def __init__(self) -> None:
        self._counts = Counter[int]()
        self.shapes: set[int] = set()

    def note(self, *shapes: int) -> None:
        """Nothing was found in a line of each of these shapes."""
        if len(self._counts) >= _SHAPES_AT_MOST:
            self._counts.clear()
            self.shapes.clear()
        self._counts.update(shapes)
        self.shapes.update(shape for shape in shapes if self._counts[shape] >= _DULL_AFTER)

    def knows(self, block: bytes) -> bool:
        """Whether every line of a block is of such a shape."""
        return self.shapes.issuperset(map(hash, without_digits(block.replace(b"\r", b"\n")).split(b"\n")))

    def add(self, shapes: set[int]) -> None:
        """These hold no trigger at all."""
        if len(self.shapes) < _SHAPES_AT_MOST:
            self.shapes |= shapes


def _is_utf16(block: bytes) -> bool:
    """Whether every other byte is a NUL: what PowerShell's redirection writes."""
    return block[:2] in (b"\xff\xfe", b"\xfe\xff") or block.count(0) > len(block) // 4


class _SlidingWindow:
    """The blocks as one sliding window: context before, what is searched, context after."""

    def __init__(self, sifter: Sifter) -> None:
        self._sifter = sifter
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
        end = len(self.text) if last else self._last_line_end()
        for start, stop in self._candidates(end):
            self._count_to(start)
            excerpt = Excerpt(self.line, self.text, start, stop)
            if excerpt.shape not in self.dull.shapes:
                yield excerpt
            self.searched = max(self.searched, stop)
        self.searched = max(self.searched, end)
        self._count_to(end)
        self._forget(max(0, end - BEFORE))

    def _last_line_end(self) -> int:
        """Up to where there is context enough; the line that is cut there waits for its rest, unless it is long."""
        end = max(self.searched, len(self.text) - AFTER)
        return max(self.text.rfind(b"\n", self.searched, end), self.text.rfind(b"\r", self.searched, end)) + 1 or end

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
                    block = self.text[self.searched : end]
                    return () if self.dull.knows(block) else self._of_new_shape(Lines(block), end)
                at = lowered.find(trigger, max(stop, at + 1), end)
        return _apart(found)

    def _lines(self, end: int) -> Iterator[tuple[int, int]]:
        at = self.searched
        while at < end:
            _, stop = _line_bounds(self.text, at, at)
            yield at, stop
            whole = self.text[stop : stop + 1] in b"\r\n"  # a longer line is cut into pieces, and a message in none
            at = stop + 1 if whole else stop - OVERLAP

    def _of_new_shape(self, lines: Lines, end: int) -> Iterator[tuple[int, int]]:
        """Of a block full of triggers, the lines whose shape is not known to be dull: all lines at the cost of one."""
        shapes = lines.shapes()
        new = set(shapes) - self.dull.shapes
        if len(new) <= CROWD:
            plain = {shape for shape, line in zip(shapes, lines.texts, strict=True) if shape in new and _is_plain(line)}
            self.dull.add(plain)
            chosen: Iterable[int] = [number for number, shape in enumerate(shapes) if shape in new - plain]
        else:
            chosen = self._sifted(lines, shapes, new, self.text[end : end + AFTER])
        begin, starts = self.searched, lines.starts if chosen else ()
        for number in chosen:
            start = begin + starts[number]
            yield start, start + len(lines.texts[number])

    def _sifted(self, lines: Lines, shapes: Sequence[int], new: set[int], after: bytes) -> list[int]:
        worth = self._sifter.sift(Crowd(lines.texts, after))
        if len(new) <= _SHAPES_AT_MOST // 4:
            self.dull.note(*(shape for number, shape in enumerate(shapes) if shape in new and number not in worth))
        return [number for number in sorted(worth) if shapes[number] in new and not _is_plain(lines.texts[number])]

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


def _last_piece(text: bytes) -> bytes:
    return text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :]


def _first_piece(text: bytes) -> bytes:
    return text.partition(b"\n")[0].partition(b"\r")[0]


def _is_plain(line: bytes) -> bool:
    """Whether a line holds no trigger."""
    lowered = line.lower()
    return not any(trigger in lowered for trigger in TRIGGERS)


def _apart(bounds: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """In order; pieces of one long line, each around another word, are cut to what the ones before do not hold."""
    last = 0
    for start, stop in sorted(bounds.items()):
        if stop > last:
            yield max(start, last - OVERLAP) if start < last else start, stop
            last = stop


def _line_bounds(text: bytes, at: int, least: int) -> tuple[int, int]:
    """The line around `at`; a carriage return ends a line too, since a progress bar writes over itself."""
    low, high = max(0, at - LINE), at + LINE
    start = max(text.rfind(b"\n", low, at), text.rfind(b"\r", low, at), low - 1) + 1
    stops = [stop for end in (b"\n", b"\r") if (stop := text.find(end, at, high)) >= 0]
    return max(start, min(least, at)), min(stops, default=min(high, len(text)))
