"""Data files, sampled: the first records, evenly spread ones, and of every line its length and its hash.

A file of gigabytes is read to a stated limit; what was left out is told in `Totals.how`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.model import Absent, Part, Unknown
from flash_doctor.preflight.config import Dialect
from flash_doctor.preflight.gather.rows import JSON, Measured, RowReader, format_of, unreadable
from flash_doctor.preflight.inputs import Files, Sample, Totals
from flash_doctor.system.bounds import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.preflight.config import Run
    from flash_doctor.system.claims import Claimed

_FORMATS = {*JSON, ".csv", ".tsv", ".txt", ".parquet", ".arrow"}
_LOOKED_AT = 10_000  # files below a folder


def looks_local(name: str) -> bool:
    """Whether it names a file here, not a dataset of the hub nor one behind a URL."""
    return "://" not in name and (name.startswith((".", "/", "~")) or format_of(Path(name)) in _FORMATS)


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
        for name, path in _places(dataset, files):
            if path is None and not looks_local(name):
                where = "elsewhere" if "://" in name else "on the hub"
                unread = f"the dataset {name} is {where}; its rows are not on this disk"
                continue
            if path is not None and (other := _other_format(path)):
                unread = f"{name} {other}; its rows were not looked at"
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
    """What a file is, or a folder holds, whose rows are not read here; nothing where they are."""
    if not path.is_dir():
        return f"is {why}" if path.is_file() and (why := unreadable(path)) else ""
    with contextlib.suppress(OSError):  # a folder that may not be entered is told where it is read
        inside = [file for file in islice(path.rglob("*"), _LOOKED_AT) if format_of(file) in _FORMATS]
        here = [file for file in inside if file.parent == path]
        if any(not unreadable(file) for file in here):
            return ""
        if here:
            return f"is a folder: {here[0].name} is {unreadable(here[0])}"
        return "has its files in further folders" if inside else ""
    return ""


def registered(run: Run, files: Files) -> tuple[Sample, ...]:
    """LLaMA-Factory's datasets that its dataset_info.json does not know; none where that file cannot be found."""
    said = run.raw.get("dataset")
    if run.dialect is not Dialect.LLAMAFACTORY or not isinstance(said, str):
        return ()
    info = files.find(f"{run.raw.get('dataset_dir') or 'data'}/dataset_info.json")
    try:
        known = _accept(read_json(info, finite=False)) if info else None
    except (OSError, ValueError):
        known = None
    names = [] if known is None else [name.strip() for name in said.split(",")]
    why = f"{info} knows no dataset of that name"
    return tuple(
        Sample(key="dataset", path=name, records=(), missing=why)
        for name in names
        if name and name not in (known or {})
    )


def _accept(claim: Claimed[Any]) -> frozenset[str] | None:
    """The names in it; None where it is no object."""
    known = claim.unproved()
    return frozenset(map(str, known)) if isinstance(known, dict) else None


def _names(dataset: Mapping[str, Any]) -> Iterator[str]:
    """The files that are named: in data_files (a text, a list, or a mapping of splits to these), else by the path."""
    said = dataset.get("data_files")
    parts = list(said.values()) if isinstance(said, Mapping) else [said]
    names = [name for part in parts for name in (part if isinstance(part, list) else [part])]
    if not any(isinstance(name, str) for name in names):
        names = [dataset.get("path")]
    yield from (name for name in names if isinstance(name, str) and name not in _FORMATS)


def _places(dataset: Mapping[str, Any], files: Files) -> Iterator[tuple[str, Path | None]]:
    """Each name with its path; data_files may be patterns, and lie in the folder that is the dataset's path."""
    for name in _names(dataset):
        path = files.find(name)
        if path is None and dataset.get("data_files"):
            inside = f"{dataset.get('path')}/{name}"
            path = files.find(inside)
            if matches := files.matching(name) or files.matching(inside):
                yield from ((str(match), match) for match in matches)
                continue
        yield name, path


def _read(key: str, name: str, path: Path | None, sample: int) -> tuple[Sample, Measured]:
    count = Measured()
    if path is None or not (path.is_file() or path.is_dir()):  # a pipe would be waited for, without end
        missing = "it does not exist" if path is None else "it is neither a file nor a folder"
        return Sample(key=key, path=name, records=(), missing=missing), count
    reader = RowReader(sample, count)
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
    """The file, or the files of a folder that can be read."""
    if path.is_dir():
        yield from sorted(file for file in path.iterdir() if format_of(file) in _FORMATS and not unreadable(file))
    else:
        yield path


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
        for name, path in _places(dataset, files):
            if path is not None and path.is_file() and not unreadable(path):
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
