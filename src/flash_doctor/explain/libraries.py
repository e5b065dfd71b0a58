"""Shared libraries of the CUDA family: which package brings the one that is missing, or the symbol that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.system.linear import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts.complaints import Complaints, Library

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
