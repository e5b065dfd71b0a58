"""Where documents of nodes lie: files, folders of files, a stream of JSON lines; nothing is read without a limit."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from flash_doctor.errors import BadInput
from flash_doctor.fleet.reading import MAX_DOCUMENT, read_document
from flash_doctor.model.fleet import Lost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flash_doctor.model.fleet import Node

_ADVICE = "Make one on each node with: `flash-doctor check --json > NODE.json`"


def read_all(places: Iterable[str], stream: BinaryIO) -> Iterator[Node | Lost]:
    """The nodes of files, of folders (each file in it is one node's, or JSON lines) and of `-`, the stream.

    Raises:
        BadInput: a place is not there.
    """
    for place in places:
        if place == "-":
            yield from _lines(stream, "", "")
        else:
            for path in _files(Path(place)):
                yield from _file(path)


def _files(place: Path) -> list[Path]:
    if not place.exists():
        message = f"{place}: there is no such file or folder"
        raise BadInput(message, advice=_ADVICE)
    if not place.is_dir():
        return [place]
    found = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
    if not found:
        message = f"{place} holds no report"
        raise BadInput(message, advice=_ADVICE)
    return found


def _file(path: Path) -> Iterator[Node | Lost]:
    # a node's file may be named gpu1.cluster.local, as parallel-ssh does
    name = path.stem if path.suffix in {".json", ".jsonl", ".txt", ".out"} else path.name
    try:
        with path.open("rb") as stream:
            yield from _lines(stream, str(path), name)
    except OSError as error:
        yield Lost(name=name, why=f"its report cannot be read: {error.strerror}", source=str(path))


def _lines(stream: BinaryIO, source: str, fallback: str) -> Iterator[Node | Lost]:
    """One document per line; a first line that is no whole document begins one of many lines."""
    lines = _limited(stream)
    first = next(lines, None)
    if first is None:
        yield Lost(name=fallback or "stdin", why="its report is empty", source=source)
        return
    if first.strip() == "{":
        yield read_document(_joined(first, lines), source=source, fallback=fallback)
        return
    second = next(lines, None)
    several = second is not None
    for line in chain([first], [second] if second is not None else [], lines):
        # in a file of many, its name is no node's name
        yield read_document(line, source="" if several else source, fallback="" if several else fallback)


def _joined(first: str, lines: Iterator[str]) -> str:
    """A document written over many lines; one that is too long stays too long."""
    parts, size = [first], len(first)
    for line in lines:
        parts.append(line)
        size += len(line)
        if size > MAX_DOCUMENT:
            break
    return "\n".join(parts)


def _limited(stream: BinaryIO) -> Iterator[str]:
    """Lines that are not blank; of one that is too long just enough to tell that it is."""
    while line := stream.readline(MAX_DOCUMENT + 1024):
        whole = line
        while not line.endswith(b"\n") and (line := stream.readline(MAX_DOCUMENT)):
            pass
        if not whole.isspace():
            yield whole.decode("utf-8", "replace")


def read_one(path: Path) -> Node:
    """The report of a known good node.

    Raises:
        BadInput: it is not there, or is no report.
    """
    if not path.is_file():
        message = f"{path}: there is no such file"
        raise BadInput(message, advice="Make it on a good node with: `flash-doctor check --json > good-node.json`")
    found = next(_file(path))
    if isinstance(found, Lost):
        message = f"{path} is no report of a good node: {found.why}"
        raise BadInput(message, advice="Make it on a good node with: `flash-doctor check --json > good-node.json`")
    return found
