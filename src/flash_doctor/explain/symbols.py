"""The wheel whose address setup.py guessed: whether its authors ever published it decides what "not found" means."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.abi.demangle import cxx11_strings, demangle, is_torch
from flash_doctor.errors import BadFacts
from flash_doctor.system.linear import Match, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from flash_doctor.abi.atlas import Atlas
    from flash_doctor.facts import Facts
    from flash_doctor.facts.complaints import Complaints, Library


_GUESSED = Pattern(
    r"(?i)guessing wheel url:[^\n]{0,300}/(?P<dist>flash_attn)-(?P<version>[\w.]{3,20})(?:\+|%2b)(?P<build>[\w.]{3,60})"
    r"-(?P<python>cp\d{2,3})-cp\d{2,3}m?-(?P<platform>[\w.]{3,60})\.whl"
)
_DIST, _VERSION, _BUILD, _PLATFORM, _PYTHONS = 0, 1, 2, 9, 12  # columns of a row of wheels/<publisher>.json


def guessed_wheel_exists(text: str, facts: Facts) -> bool | None:
    """Whether the guessed wheel is among those its authors published; None where the text guesses none."""
    found = _GUESSED.search(text.encode("utf-8", "replace"))
    return any(_names(row, found) for row in _published(facts)) if found else None


def _names(row: list[str], found: Match) -> bool:
    wanted = found["dist"], found["version"], found["build"], found["platform"]
    same = (row[_DIST], row[_VERSION], row[_BUILD], row[_PLATFORM]) == wanted
    return same and found["python"] in {python.rstrip("m") for python in row[_PYTHONS].split()}


def _published(facts: Facts) -> list[list[str]]:
    path = facts.folder / "wheels" / "dao-ailab.json"
    try:
        rows: list[list[str]] = json.loads(path.read_text(encoding="utf-8"))["families"]
    except (OSError, ValueError, KeyError) as error:
        message = f"{path.name} of the wheel matrix cannot be read: {error}"
        raise BadFacts(message, advice="Install flash-doctor again; its own files are damaged.") from error
    return rows


_FILE = Pattern(r"\b(?P<file>lib[\w+-]{2,60}?\.so)(?:\.(?P<major>\d{1,3}))?")


def library_evidence(text: str, complaints: Complaints) -> tuple[str, ...]:
    """One sentence for each library of the CUDA family that a line names: what it is, and the package it comes in."""
    said = dict.fromkeys(
        _sentence(file, major, row)
        for file, major in _files(text)
        if (row := complaints.library_of_file(file)) is not None
    )
    return tuple(said)


def _sentence(file: str, major: str, row: Library) -> str:
    """The package's name ends in the library's major version where NVIDIA names it so: nvidia-cudnn-cu12."""
    package = row.package.format(major=major or "N")
    return f"{f'{file}.{major}' if major else file} is {row.what}; it comes with {package}."


def library_named(text: str, complaints: Complaints) -> Library | None:
    """The first library of the CUDA family that a text names."""
    rows = (complaints.library_of_file(file) for file, _ in _files(text))
    return next((row for row in rows if row is not None), None)


def _files(text: str) -> Iterator[tuple[str, str]]:
    """Each library that a text names, and its major version."""
    for found in _FILE.every(text.encode("utf-8", "replace")):
        yield found["file"], found["major"]


def symbol_sentence(symbol: str, complaints: Complaints) -> str:
    """Whose a symbol such as ncclCommRegister is; empty where it is no library's of the CUDA family."""
    row = complaints.library_of_symbol(symbol)
    return f"{symbol} belongs to {row.what} ({row.name}), from {row.package.format(major='N')}." if row else ""


# the three forms of loaders: Linux, macOS, and Linux again where a library of that name lacks the symbol's version
_MISSING = Pattern(
    r"(?:[Uu]ndefined symbol|[Ss]ymbol not found(?: in flat namespace)?)[:\s]{0,3}(?:['\"(`]|‘){0,2}(?P<symbol>[\w.$]*)"
    r"|\bsymbol (?P<versioned>\w+), version [\w.]+ not defined in file"
)
_NAME_AT_MOST = 2000
_LIBRARIES = (b".so", b".pyd", b".dylib")
_SEPARATORS = b" \t\r\n\f\v:'\"`("
_SUFFIX = frozenset(b".-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# c10::Error(SourceLocation, std::string): even cut off, its last argument is the string whose ABI differs
_ERROR_WITH_STRING = "_ZN3c105ErrorC2ENS"
_NOT_A_SYMBOL = {"", "in", "on", "when", "error", "errors", "after", "with", "from", "for", "while"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingSymbol:
    """`name` (mangled, may be empty where the log cuts it off) is missing; `file` is what needs it, if the log says."""

    name: str
    file: str

    @property
    def module(self) -> str:
        """The file's name without its path."""
        return self.file.replace("\\", "/").rpartition("/")[2]

    @property
    def of_torch(self) -> bool:
        return is_torch(self.name) or self.name.startswith(("_torch", "_ZTIN3c10", "_ZTVN3c10"))

    @property
    def string_abi(self) -> bool | None:
        """Whether it needs the C++11 std::string (True) or the older one (False); None where it has none."""
        if self.name.startswith(_ERROR_WITH_STRING) and not self.name.endswith("Ss"):
            return True
        return cxx11_strings([self.name])


def find_symbol(text: bytes, within: int) -> MissingSymbol | None:
    """The symbol that the line (the first `within` bytes of the text) says is missing."""
    found = _MISSING.search(text) if b"ymbol" in text else None
    if not found or found.start >= within:
        return None
    name = (found["symbol"] or found["versioned"])[:_NAME_AT_MOST]
    name = "" if name.lower() in _NOT_A_SYMBOL or name.endswith((".so", ".py")) else name.rstrip(".")
    return MissingSymbol(name=name, file=_last_file(text[: found.start]))


def _last_file(text: bytes) -> str:
    """The last shared library that the text names."""
    at = max(text.rfind(suffix) for suffix in _LIBRARIES)
    if at <= 0:
        return ""
    start = max(text.rfind(bytes([separator]), 0, at) for separator in _SEPARATORS) + 1
    stop = at + 1
    while stop < len(text) and text[stop] in _SUFFIX:
        stop += 1
    return text[start:stop].decode("utf-8", "replace").lstrip("[(`")


def symbol_evidence(symbol: MissingSymbol, atlas: Atlas, loaded: Version | None, landmark: str = "") -> tuple[str, ...]:
    """What the atlas knows of a symbol of torch: its C++ name, the releases that export it, how they stand to ours.

    `landmark` is what a part of the name tells; it counts where no release exports the symbol as the log shows it.
    """
    if not symbol.name:
        return ("The log cuts off the name of the symbol: with the whole line its torch releases can be told.",)
    readable = demangle(symbol.name)
    lines = [f"{symbol.name} is {readable}"] if readable != symbol.name else []
    if not symbol.of_torch:
        return tuple(lines)
    exporters = atlas.exported_by(symbol.name)
    built = atlas.built_for(exporters, installed=loaded)
    if exporters:
        lines.append(f"{symbol.module or 'The file that needs it'} was {built}.")
        lines.append(f"torch releases that export the symbol: {', '.join(map(str, exporters))}.")
    elif landmark:
        lines.append(landmark)
    else:
        lines.append(f"No release of torch that was read exports it: {built.span}.")
    return tuple(lines)
