"""The golden tree: what every command says, word for word, in a world that is the same on every machine.

A book is a file in `tests/golden/commands/`: calls of the command line, each with its exit code and what it printed.
`scripts/dev/golden.py` writes them, `test_golden.py` compares. Only the entry of the program is used, no module in it.

    $ flash-doctor check --for machine.json --json      what was typed, `< file` for stdin, `NAME=value` for a variable
    = 1                                                 the exit code
    | BROKEN at flash-attn                              a row of stdout, as it is
    : {"verdict": "broken", "findings": [               a row of stdout that is JSON, broken where it is long
    > # TYPE flash_doctor_fleet_nodes gauge             a row of the file that was written
    ! flash-doctor: error: ...                          a row of stderr

Where the last row has no end, `\\` follows in a row of its own. What an earlier call in the book printed is not told
twice; of the `environment` of a report only what differs is told, from the report of `--for` or the one told before.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from flash_doctor.__main__ import answer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
TREE = Path(__file__).parent / "golden" / "commands"
_SHOWN, _SHOWN_FACTS = "/tmp/fd-golden-1", "/tmp/fd-golden-0/facts"
_WIDTH = 118
_LONG, _HEAD = 12_000, 60  # rows
# what another day or another Python changes
_UNSTEADY = {
    r"\(\d+ days? old\)": "(0 days old)",
    r"(?<=python)3\.\d+\b": "3.12",
}
_NOW = 1_795_000_000.0  # 18 November 2026, in seconds since 1970
READ_ONCE = ("flash_doctor.facts.Facts", "flash_doctor.resolve.sources.overlay.load_wheels")
_DISK = os.statvfs_result((4096, 4096, 26_214_400, 16_777_216, 16_777_216, 10_000_000, 9_000_000, 9_000_000, 0, 255))


@dataclass(frozen=True)
class Call:
    """One command line, typed in the book's folder or in one of it; `stdin` and what it `writes` are files there."""

    words: tuple[str, ...]
    stdin: str = ""
    folder: str = ""
    writes: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)

    def typed(self) -> str:
        return " ".join(
            [
                *([f"cd {self.folder};"] if self.folder else []),
                *(f"{name}={shlex.quote(value)}" for name, value in self.environ.items()),
                "flash-doctor",
                *map(shlex.quote, self.words),
                *([f"< {self.stdin}"] if self.stdin else []),
            ]
        )


@dataclass(frozen=True)
class Book:
    """`calls` prepares the empty folder that it is given and says what is called there."""

    name: str
    calls: Callable[[Path], Iterable[Call]]

    @property
    def file(self) -> Path:
        return TREE / f"{self.name}.txt"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str
    file: str


def call(*words: str, stdin: str = "", folder: str = "", writes: str = "", **environ: str) -> Call:
    return Call(words, stdin, folder, writes, environ)


def written(book: Book) -> str:
    """The book as it is today."""
    with room() as folder, steady(folder):
        pages = Pages(folder)
        for each in book.calls(folder):
            pages.add(each, said(each, folder))
        return "\n".join(pages.rows) + "\n"


@contextmanager
def room() -> Iterator[Path]:
    """An empty folder whose path is as long as the one that is shown in its place, so that lines break alike."""
    with tempfile.TemporaryDirectory(prefix="fd-", dir="/tmp") as folder:
        assert len(folder) == len(_SHOWN)
        yield Path(folder)


@contextmanager
def steady(folder: Path) -> Iterator[None]:
    """The same variables, umask, clock, disk and width everywhere."""
    environ = {
        "PATH": os.defpath,
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "COLUMNS": "80",
        "TERM": "dumb",
        "FLASH_DOCTOR_DATA": str(folder / "data"),
        "FLASH_DOCTOR_CACHE": str(folder / "cache"),
        "FLASH_DOCTOR_FACTS": str(_facts()),
    }
    before, umask = Path.cwd(), os.umask(0o022)
    with ExitStack() as stack:
        stack.callback(time.tzset)
        stack.enter_context(patch.dict(os.environ, environ, clear=True))
        time.tzset()
        stack.callback(os.umask, umask)
        stack.callback(os.chdir, before)
        stack.enter_context(patch("os.statvfs", lambda _: _DISK))
        stack.enter_context(patch("time.time", lambda: _NOW))
        for name, reader in read_once().items():
            stack.enter_context(patch(name, reader))
        yield


@cache
def _facts() -> Path:
    """The facts by another path, whose length does not depend on where the checkout lies; one for the whole process."""
    folder = tempfile.mkdtemp(prefix="fd-", dir="/tmp")
    atexit.register(shutil.rmtree, folder)
    (Path(folder) / "facts").symlink_to(ROOT / "wheel_matrix")
    return Path(folder) / "facts"


def read_once() -> dict[str, Callable[..., Any]]:
    """Ours in place of what reads facts: one answer for all calls, since reading takes most of the time of most.

    It changes no word. A name that is gone is passed over, so that a module may be renamed: the tree then takes longer.
    """
    found = {}
    for name in READ_ONCE:
        with suppress(ImportError, AttributeError):
            found[name] = _once(resolve_name(name))
    return found


@cache
def _once(read: Callable[..., Any]) -> Callable[..., Any]:
    answers: dict[object, Any] = {}

    def reader(*given: Any, **named: Any) -> Any:
        asked = (given, repr(named))
        if asked not in answers:
            answers[asked] = read(*given, **named)
        return answers[asked]

    return reader


def said(each: Call, folder: Path) -> Said:
    """What the program answers, in this process."""
    stdin = (folder / each.stdin).read_bytes() if each.stdin else b""
    streams = [io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="") for data in (stdin, b"", b"")]
    os.chdir(folder / each.folder)
    with (
        patch.dict(os.environ, each.environ),
        patch.multiple(sys, stdin=streams[0], stdout=streams[1], stderr=streams[2]),
    ):
        code = answer(each.words)
    texts = []
    for stream in streams[1:]:
        stream.flush()
        stream.seek(0)
        texts.append(stream.read())
    file = (folder / each.writes).read_text(encoding="utf-8") if each.writes else ""
    return Said(code, texts[0], texts[1], file)


class Pages:
    """The rows of a book, and what it told already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[str] = []
        self.told: dict[tuple[str, ...], str] = {}
        self.environment: object = None

    def add(self, each: Call, answer: Said) -> None:
        typed = each.typed()
        if "--for" in each.words[:-1]:
            self.environment = _environment_in(self.folder / each.words[each.words.index("--for") + 1])
        rows = tuple(_cut([*self._out("|", answer.out), *self._out(">", answer.file)]))
        first = self.told.setdefault(rows, typed)
        if first != typed and len(rows) > 1:
            rows = (f"= prints what this printed: {first}",)
        self.rows += [f"$ {typed}", f"= {answer.code}", *rows, *_marked("!", self._steady(answer.err)), ""]

    def _out(self, mark: str, text: str) -> Iterator[str]:
        for row in _marked(mark, text):
            document = _document(row[2:])
            if document is None:
                yield self._steady(row)
            else:
                yield from (self._steady(f": {line}") for line in self._laid_out(document))

    def _laid_out(self, document: dict[str, Any]) -> list[str]:
        if "environment" in document:
            before, self.environment = self.environment, document["environment"]
            document = {**document, "environment": _differing(self.environment, before)}
        return laid_out(document)

    def _steady(self, text: str) -> str:
        text = text.replace(str(self.folder), _SHOWN).replace(str(_facts()), _SHOWN_FACTS)
        for pattern, shown in _UNSTEADY.items():
            text = re.sub(pattern, shown, text)
        return text


def _differing(new: Any, old: Any) -> Any:
    """Of an object the keys whose value is another one than before, down to the values themselves."""
    if not isinstance(new, dict) or not isinstance(old, dict):
        return new
    return {
        **{key: _differing(value, old.get(key)) for key, value in new.items() if key not in old or value != old[key]},
        **{key: "is no longer there" for key in old if key not in new},
    }


def _environment_in(report: Path) -> object:
    try:
        return json.loads(report.read_text(encoding="utf-8")).get("environment")
    except (OSError, ValueError):
        return None


def _cut(rows: list[str]) -> list[str]:
    """Of what is long the first rows, and the hash of all."""
    if len(rows) <= _LONG:
        return rows
    digest = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return [*rows[:_HEAD], f"= {len(rows)} rows, all of them with the sha256 {digest}"]


def _marked(mark: str, text: str) -> list[str]:
    rows = [f"{mark} {row}".rstrip(" ") if not row else f"{mark} {row}" for row in text.split("\n")]
    return rows[:-1] if not text or text.endswith("\n") else [*rows, "\\"]


def _document(row: str) -> dict[str, Any] | None:
    """The JSON object of a row that is written as ours are, so that it can be broken without losing anything."""
    if not row.startswith("{"):
        return None
    try:
        document: dict[str, Any] = json.loads(row)
    except ValueError:
        return None
    return document if json.dumps(document) == row else None


def laid_out(value: Any, indent: int = 0, key: str = "", end: str = "") -> list[str]:
    """JSON in rows: what fits into one stays there, anything else gets a row for each of its parts."""
    whole = f"{' ' * indent}{key}{json.dumps(value)}{end}"
    if len(whole) <= _WIDTH or not value or not isinstance(value, (dict, list)):
        return [whole]
    inside = [(f"{json.dumps(name)}: ", part) for name, part in value.items()] if isinstance(value, dict) else []
    parts = inside or [("", part) for part in value]
    open_, close = "{}" if isinstance(value, dict) else "[]"
    rows = [f"{' ' * indent}{key}{open_}"]
    for index, (name, part) in enumerate(parts):
        rows += laid_out(part, indent + 1, name, "," if index < len(parts) - 1 else "")
    return [*rows, f"{' ' * indent}{close}{end}"]
