"""The rows of one data file, bounded: JSON lines, a JSON array, CSV; Parquet where pyarrow is; compressed or not.

A file of gigabytes, or one that unpacks to them, is read to a stated limit; what was left out is counted by its share.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import IO, TYPE_CHECKING, Any

from flash_doctor.preflight.inputs import DataRow
from flash_doctor.system.bounds import LONGEST_INTEGER, read_json

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.system.claims import Claimed

READ_LIMIT = 256 * 1024 * 1024  # bytes of a file that are read, unpacked
ROW_LIMIT = 500_000  # rows of a file that are measured: about 60 MB of lengths and hashes
LINE_LIMIT = 16 * 1024 * 1024  # bytes of one record
SPREAD = 1000  # records parsed beyond the first ones
_FAULTS = 20
_COMPRESSED: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
JSON = frozenset({".jsonl", ".json", ".ndjson"})
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # as surrogateescape leaves them
_SEPARATED = {".csv": ",", ".tsv": "\t"}


def format_of(path: Path) -> str:
    """The file's suffix, without that of a compression that is unpacked here."""
    suffixes = [suffix.lower() for suffix in path.suffixes] or [""]
    return suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in _COMPRESSED else suffixes[-1]


def unreadable(path: Path) -> str:
    """Why the rows of such a file cannot be read here; nothing where they can."""
    suffix = format_of(path)
    if suffix in JSON or suffix in _SEPARATED:
        return ""
    if suffix != ".parquet":
        return f"a {suffix or 'file without suffix'} file, a format that is not read here"
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        return "a .parquet file, which only pyarrow reads; it is not installed beside this doctor (pip install pyarrow)"
    return ""


@dataclass
class Measured:
    """What was counted over the rows of one dataset's files."""

    lengths: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    repeated: int = 0
    rows: int = 0
    files: int = 0
    size: int = 0

    def add(self, line: bytes) -> None:
        self.lengths.append(len(line))
        mark = hash(line)
        if mark in self.seen:
            self.repeated += 1
        else:
            self.seen.add(mark)


@dataclass
class RowReader:
    """Reads files one after the other; keeps the first `sample` records (0: every one), and evenly spread ones."""

    sample: int
    count: Measured = field(default_factory=Measured)
    records: list[DataRow] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def read(self, path: Path) -> None:
        """Raises OSError where the file cannot be read at all."""
        self.count.size += path.stat().st_size
        self.count.files += 1
        if format_of(path) == ".parquet":
            self._parquet(path)
            return
        with path.open("rb") as raw:
            try:
                self._stream(path, raw)
            except _DAMAGED as error:
                self.fault(1, f"the compressed file is damaged: {error}")

    def _stream(self, path: Path, raw: IO[bytes]) -> None:
        size, unpack = path.stat().st_size, _COMPRESSED.get(path.suffix.lower())
        file: IO[bytes] = unpack(raw) if unpack else raw
        before = self.count.rows
        if format_of(path) in _SEPARATED:
            whole = self._separated(file, _SEPARATED[format_of(path)], raw, size)
        elif file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
            file.seek(0)
            self._array(file)
            return
        else:
            file.seek(0)
            whole = self._lines(file, raw, size)
        if not whole:
            self.count.rows = before + int((self.count.rows - before) * size / max(raw.tell(), 1))

    def _array(self, file: IO[bytes]) -> None:
        """A whole file that is one JSON array."""
        content = file.read(READ_LIMIT // 4 + 1)
        if len(content) > READ_LIMIT // 4:
            self.fault(1, "one JSON array of this size is not read here")
            return
        try:
            rows = _accept(_json(content))
        except ValueError as error:
            self.fault(getattr(error, "lineno", 1), str(error))
            return
        for number, row in enumerate(rows, 1):
            self._found(number, row)

    def _lines(self, file: IO[bytes], raw: IO[bytes], size: int) -> bool:
        """JSON lines; whether they were read to their end."""
        pace = _Pace(self, raw, size)
        for number, line in enumerate(pace.lines(file), 1):
            text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
            if not text:
                continue
            self.count.rows += 1
            self.count.add(text)
            if pace.due() or text[:1] != b"{" or text[-1:] != b"}":
                self._parse(number, text)
        return bool(pace.ended)

    def _separated(self, file: IO[bytes], separator: str, raw: IO[bytes], size: int) -> bool:
        """CSV as pandas reads it: a header, quotes that may span lines, no more values than the header has names."""
        pace = _Pace(self, raw, size)
        csv.field_size_limit(LINE_LIMIT)
        lines: list[str] = []  # of the row that is being read
        reader = csv.reader(self._decoded(pace.lines(file), lines), delimiter=separator)
        begin = 1
        try:
            names = next(reader, [])
            lines.clear()
            begin += reader.line_num
            for row in reader:
                last, begin = begin, reader.line_num + 1
                if row and not (pace.ended is not None and _unclosed(lines, separator)):
                    self._row(reader.line_num, names, row, pace)
                elif row and pace.ended:
                    self.fault(last, "a quote that is not closed")
                lines.clear()
        except csv.Error as error:
            # what stands behind it cannot be told apart
            self.fault(begin, f"{error}: is there a quote that is not closed?")
        return bool(pace.ended)

    def _row(self, line: int, names: list[str], row: list[str], pace: _Pace) -> None:
        """One row under the header's names; a value that is missing or empty is None."""
        self.count.rows += 1
        self.count.add(json.dumps(row).encode())
        if len(row) > len(names):
            self.fault(line, f"{len(row)} values under {len(names)} column names")
        elif pace.due():
            self.keep(self.count.rows, {name: value or None for name, value in zip_longest(names, row, fillvalue="")})

    def _decoded(self, lines: Iterator[bytes], kept: list[str]) -> Iterator[str]:
        for number, line in enumerate(lines, 1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")
            if (bad := _NOT_UTF8.search(text)) is not None:
                self.fault(number, f"not UTF-8: at character {bad.start() + 1} of the line")
            kept.append(text)
            yield text

    def _parquet(self, path: Path) -> None:
        """The footer says how many rows there are; the first of some row groups are read."""
        from pyarrow import ArrowException, parquet

        try:
            with parquet.ParquetFile(path) as file:
                self.count.rows += file.metadata.num_rows
                for number, row in _parquet_rows(file, self.sample or ROW_LIMIT):
                    self.count.add(json.dumps(row, sort_keys=True, default=str).encode())
                    self.keep(number, row)
        except (ArrowException, OSError, ValueError) as error:
            self.fault(1, f"no readable Parquet file: {str(error).splitlines()[0]}")

    def _parse(self, number: int, text: bytes) -> None:
        if len(text) >= LINE_LIMIT - 2:
            self.fault(number, f"a line of more than {LINE_LIMIT // 1024 // 1024} MiB")
            return
        try:
            self.keep(number, _accept(_json(text)))
        except UnicodeDecodeError as error:
            self.fault(number, f"not UTF-8: {error.reason} at byte {error.start + 1} of the line")
        except ValueError as error:
            self.fault(number, str(error))

    def _found(self, number: int, row: object) -> None:
        self.count.rows += 1
        self.count.add(json.dumps(row, sort_keys=True).encode())
        self.keep(number, row)

    def keep(self, number: int, row: object) -> None:
        if isinstance(row, Mapping):
            self.records.append(DataRow(number=number, value=row))
        else:
            self.fault(number, f"a {type(row).__name__}, where an object in braces is wanted")

    def fault(self, number: int, why: str) -> None:
        if len(self.faults) < _FAULTS:
            self.faults.append((number, why))


def _accept(claim: Claimed[Any]) -> Any:
    """A row as it is: it is counted and shown, and `keep` tells what is none."""
    return claim.unproved()


def _json(text: bytes) -> Claimed[Any]:
    """What other programs take: NaN, and numbers as long as those of a lesson in arithmetic."""
    return read_json(text, limit=READ_LIMIT, digits=LONGEST_INTEGER, finite=False)


def _unclosed(lines: list[str], separator: str) -> bool:
    """Whether the file ends within quotes; whatever else a strict reader minds, pandas takes."""
    try:
        list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as error:
        return "end of data" in str(error)
    return False


def _parquet_rows(file: Any, sample: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their numbers: the first of each of evenly spread row groups; one too large to unpack is left out."""
    groups = range(0, file.num_row_groups, max(1, -(-file.num_row_groups // 10)))
    sizes = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
    each = max(1, sample // max(1, len(groups)))
    for index in groups:
        if sizes[index].total_byte_size > READ_LIMIT:
            continue
        first = 1 + sum(group.num_rows for group in sizes[:index])
        batch = next(file.iter_batches(batch_size=each, row_groups=[index], use_threads=False), None)
        yield from enumerate(batch.to_pylist() if batch is not None else [], first)


@dataclass
class _Pace:
    """How far one file is read, and which of its records are parsed; `ended` is None while it is read."""

    reader: RowReader
    raw: IO[bytes]
    size: int
    position: int = 0
    next_spread: float = 0.0
    ended: bool | None = None
    begun: int = -1

    def lines(self, file: IO[bytes]) -> Iterator[bytes]:
        self.begun = self.reader.count.rows
        while self.position < READ_LIMIT and self.reader.count.rows - self.begun < ROW_LIMIT:
            line = file.readline(LINE_LIMIT)
            if not line:
                break
            self.position += len(line)
            yield line
        self.ended = not file.read(1)

    def due(self) -> bool:
        """Whether the newest row is to be parsed: one of the first, or the next at an even distance."""
        rows, sample = self.reader.count.rows, self.reader.sample
        if sample and rows > sample and self.raw.tell() < self.next_spread:
            return False
        self.next_spread = self.raw.tell() + max(1.0, self.size / SPREAD)
        return True
