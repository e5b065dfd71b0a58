"""Data files, sampled: the first records, evenly spread ones, and of every line its length and its hash.

A file of gigabytes is read to a stated limit; what was left out is told in `Totals.how`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.model import Absent, Part, Unknown
from flash_doctor.preflight.run import Dialect
from flash_doctor.preflight.scene import Files, Record, Sample, Totals

if TYPE_CHECKING:
    from flash_doctor.preflight.run import Run

READ_LIMIT = 256 * 1024 * 1024  # bytes of a file that are read
ROW_LIMIT = 500_000  # rows of a file that are measured: about 60 MB of lengths and hashes
LINE_LIMIT = 16 * 1024 * 1024  # bytes of one record
SPREAD = 1000  # records parsed beyond the first ones
_TEXT_FORMATS = {".jsonl", ".json", ".ndjson"}
_FORMATS = {*_TEXT_FORMATS, ".csv", ".tsv", ".txt", ".parquet", ".arrow"}
_FAULTS = 20
_LOOKED_AT = 10_000  # files below a folder


@dataclass
class Measured:
    """What was counted over the lines of one file."""

    lengths: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    repeated: int = 0
    rows: int = 0
    files: int = 0
    size: int = 0
    read: int = 0

    def add(self, line: bytes) -> None:
        self.lengths.append(len(line))
        mark = hash(line)
        if mark in self.seen:
            self.repeated += 1
        else:
            self.seen.add(mark)


def looks_local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or Path(name).suffix.lower() in _FORMATS


def read_samples(
    run: Run, files: Files, sample: int, token_bytes: float
) -> tuple[Part[tuple[Sample, ...]], Part[Totals]]:
    """The records of every dataset of the run, and all of them measured together.

    Args:
        run: whose `datasets` are read.
        files: where paths are looked for.
        sample: how many of the first records are parsed; 0: all.
        token_bytes: bytes of text that stand for one token.
    """
    found: list[Sample] = list(registered(run, files))
    measured: list[Measured] = []
    unread = ""
    for key, dataset in run.datasets():
        for name in _names(dataset):
            path = files.find(name)
            if path is None and not looks_local(name):
                unread = f"the dataset {name} is on the hub; its rows are not on this disk"
                continue
            if path is not None and (other := _other_format(path)):
                unread = f"{name} {other}; only files of JSON or JSON lines are read, so its rows were not looked at"
                continue
            one, count = _read(key, name, path, sample)
            found.append(one)
            measured.append(count)
    if unread:
        return (tuple(found) or Unknown(unknown=unread)), Unknown(unknown=unread)
    if not found:
        absent = Absent(absent="no dataset is named")
        return absent, absent
    return tuple(found), _totals(run, measured, token_bytes, _leaked(run, files, measured))


def _other_format(path: Path) -> str:
    """What a file is, or a folder holds, whose rows are not read here; nothing for JSON."""
    if path.is_file():
        return "" if path.suffix.lower() in _TEXT_FORMATS else f"is a {path.suffix or 'file without suffix'} file"
    suffixes: set[str] = set()
    with contextlib.suppress(OSError):  # a folder that may not be entered is told where it is read
        if path.is_dir() and not any(_inside(path)):
            suffixes = {file.suffix.lower() for file in islice(path.rglob("*"), _LOOKED_AT)} & _FORMATS
    kinds = " and ".join(sorted(suffixes - _TEXT_FORMATS))
    if kinds:
        return f"is a folder of {kinds} files"
    return "has its files in further folders" if suffixes else ""


def registered(run: Run, files: Files) -> tuple[Sample, ...]:
    """LLaMA-Factory's datasets that its dataset_info.json does not know; none where that file cannot be found."""
    said = run.raw.get("dataset")
    if run.dialect is not Dialect.LLAMAFACTORY or not isinstance(said, str):
        return ()
    info = files.find(f"{run.raw.get('dataset_dir') or 'data'}/dataset_info.json")
    try:
        known = json.loads(info.read_bytes()) if info else None
    except (OSError, ValueError, RecursionError):
        known = None
    names = [name.strip() for name in said.split(",")] if isinstance(known, dict) else []
    why = f"{info} knows no dataset of that name"
    return tuple(
        Sample(key="dataset", path=name, records=(), missing=why)
        for name in names
        if name and name not in (known or {})
    )


def _names(dataset: Mapping[str, Any]) -> Iterator[str]:
    files = dataset.get("data_files")
    names = files if isinstance(files, list) else [files] if isinstance(files, str) else [dataset.get("path")]
    yield from (name for name in names if isinstance(name, str) and name not in _FORMATS)


def _read(key: str, name: str, path: Path | None, sample: int) -> tuple[Sample, Measured]:
    count = Measured()
    if path is None or not (path.is_file() or path.is_dir()):  # a pipe would be waited for, without end
        missing = "it does not exist" if path is None else "it is neither a file nor a folder"
        return Sample(key=key, path=name, records=(), missing=missing), count
    reader = _Reader(sample, count)
    try:
        for file in _inside(path):
            reader.read(file)
    except OSError as error:
        missing = f"it cannot be read: {error.strerror}"
        return Sample(key=key, path=name, records=(), missing=missing), count
    missing = "" if count.rows or reader.faults else "it holds no record"
    whole = len(reader.records) + len(reader.faults) >= count.rows
    return (
        Sample(
            key=key, path=name, records=tuple(reader.records), faults=tuple(reader.faults), missing=missing, whole=whole
        ),
        count,
    )


def _inside(path: Path) -> Iterator[Path]:
    """The file, or the JSON files of a folder."""
    if path.is_dir():
        yield from sorted(file for file in path.iterdir() if file.suffix in _TEXT_FORMATS)
    else:
        yield path


@dataclass
class _Reader:
    sample: int
    count: Measured
    records: list[Record] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def read(self, path: Path) -> None:
        size = path.stat().st_size
        self.count.size += size
        self.count.files += 1
        with path.open("rb") as file:
            start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
            if start[:1] == b"[":
                self._array(path, size)
                return
            file.seek(0)
            self._lines(file, size)

    def _array(self, path: Path, size: int) -> None:
        """A whole file that is one JSON array."""
        if size > READ_LIMIT // 4:
            self.faults.append((1, "one JSON array of this size is not read here"))
            return
        try:
            rows = json.loads(path.read_bytes().decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            self.faults.append((getattr(error, "lineno", 1), str(error)))
            return
        for number, row in enumerate(rows, 1):
            self.count.rows += 1
            self.count.add(json.dumps(row, sort_keys=True).encode())
            self._keep(number, row)

    def _lines(self, file: Any, size: int) -> None:
        number = position = 0
        step = max(1, int(size / max(1, SPREAD)))
        next_spread = 0
        while position < READ_LIMIT and self.count.rows < ROW_LIMIT:
            line = file.readline(LINE_LIMIT)
            if not line:
                break
            number += 1
            position += len(line)
            text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
            if not text:
                continue
            self.count.rows += 1
            self.count.add(text)
            due = not self.sample or self.count.rows <= self.sample or position >= next_spread
            if due or text[:1] != b"{" or text[-1:] != b"}":
                next_spread = position + step
                self._parse(number, text)
        self.count.read += position
        if position < size:
            self.count.rows = int(self.count.rows * size / position)

    def _parse(self, number: int, text: bytes) -> None:
        if len(text) >= LINE_LIMIT - 2:
            self._fault(number, f"a line of more than {LINE_LIMIT // 1024 // 1024} MiB")
            return
        try:
            self._keep(number, json.loads(text))
        except UnicodeDecodeError as error:
            self._fault(number, f"not UTF-8: {error.reason} at byte {error.start + 1} of the line")
        except (ValueError, RecursionError) as error:
            self._fault(number, str(error))

    def _keep(self, number: int, row: object) -> None:
        if isinstance(row, Mapping):
            self.records.append(Record(number=number, value=row))
        else:
            self._fault(number, f"a {type(row).__name__}, where an object in braces is wanted")

    def _fault(self, number: int, why: str) -> None:
        if len(self.faults) < _FAULTS:
            self.faults.append((number, why))


def _totals(run: Run, measured: list[Measured], token_bytes: float, leaked: int) -> Totals:
    lengths = sorted(length for count in measured for length in count.lengths)
    limit = run.count("sequence_len", 512) * token_bytes
    seen = len(lengths)
    rows = sum(count.rows for count in measured)
    return Totals(
        rows=rows,
        p50=lengths[seen // 2] / token_bytes if lengths else 0.0,
        longest=lengths[-1] / token_bytes if lengths else 0.0,
        over=sum(length > limit for length in lengths) / max(seen, 1),
        duplicates=sum(count.repeated for count in measured) / max(seen, 1),
        how=_how(rows, seen, token_bytes),
        leaked=leaked,
        bytes=max((count.size for count in measured), default=0),
        files=sum(count.files for count in measured),
    )


def _how(rows: int, seen: int, token_bytes: float) -> str:
    part = "every row" if seen >= rows else f"the first {seen:,} of about {rows:,} rows"
    return f"measured on {part}, {token_bytes} bytes of the file counted as a token (an estimate, often 20 % off)"


def _leaked(run: Run, files: Files, measured: list[Measured]) -> int:
    """Rows of the test data that are training rows too."""
    seen = set().union(*(count.seen for count in measured)) if measured else set()
    number = 0
    for key, dataset in run.datasets("test_datasets"):
        for name in _names(dataset):
            path = files.find(name)
            if path is not None and path.is_file() and path.suffix.lower() in _TEXT_FORMATS:
                number += len(_read(key, name, path, 1)[1].seen & seen)
    return number


def prepared_folder(run: Run, files: Files, data: list[Path]) -> tuple[str, str] | None:
    """(folder of an earlier prepared dataset, how the data are newer); None without one."""
    folder = files.find(run.text("dataset_prepared_path") or "last_run_prepared")
    made = [entry for entry in os.scandir(folder) if entry.is_dir()] if folder and folder.is_dir() else []
    if not made:
        return None
    newest = max(made, key=lambda entry: entry.stat().st_mtime)
    younger = [path for path in data if path.stat().st_mtime > newest.stat().st_mtime]
    return newest.path, f"{younger[0]} was changed after it" if younger else ""
