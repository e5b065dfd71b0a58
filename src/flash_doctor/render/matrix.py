"""The wheel matrix as lines and as JSON: its publishers, single wheels, who covers what, what a refresh brought."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any

from flash_doctor.render.text import BLANK, Line, Span, Style, count, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flash_doctor.model.plan import Knowledge
    from flash_doctor.model.wheel import Cell, Origin, Renewal, Wheel

SHOWN = 40
Json = dict[str, Any]


def overview_lines(wheels: Sequence[Wheel], origins: Iterable[Origin], knowledge: Knowledge) -> Iterator[Line]:
    """One paragraph for each publisher's file."""
    totals = Counter(wheel.family.publisher for wheel in wheels)
    hashed = Counter(wheel.family.publisher for wheel in wheels if wheel.sha256)
    for origin in origins:
        yield Line((Span(origin.publisher, Style.STRONG), span(f"  {origin.title}")), rest="  ")
        own = f"{totals[origin.publisher]} wheels, {hashed[origin.publisher]} with a sha256; facts of {origin.date}"
        yield Line((span(own),), first="  ", rest="  ")
        yield Line((span(str(origin.file), Style.DIM),), first="  ", verbatim=True)
    yield BLANK
    when = f", refreshed {knowledge.refreshed}" if knowledge.refreshed else ", never refreshed"
    yield Line((span(f"{len(wheels)} wheels; shipped facts of {knowledge.shipped}{when}."),))
    yield from (Line((span(text, Style.WARN),)) for text in knowledge.warnings)
    yield Line((span("`flash-doctor matrix show TEXT` tells the wheels whose name has that text."),))


def wheel_lines(found: Sequence[Wheel], *, every: bool) -> Iterator[Line]:
    """Single wheels with what their names do not tell."""
    for wheel in found if every else found[:SHOWN]:
        family = wheel.family
        yield Line((span(wheel.filename, Style.STRONG),), verbatim=True)
        code = ", ".join(map(str, family.code)) or "not known"
        state = wheel.hash_state.value if wheel.sha256 or not wheel.url else "none published"
        text = f"{family.publisher} {family.release}; GPU code {code}; sha256 {state}; known by {family.evidence.value}"
        yield Line((span(f"{text} ({family.source}, {family.date})"),), first="  ", rest="  ")
        for fault in family.faults:
            yield Line((span(f"{fault.summary} ({fault.source})", Style.WARN),), first="  - ", rest="    ")
    if not every and len(found) > SHOWN:
        yield Line((span(f"and {len(found) - SHOWN} more: --all tells them", Style.DIM),))


def coverage_lines(cells: Sequence[Cell], here: Sequence[Cell], where: str) -> Iterator[Line]:
    """A grid for each machine: torch and its CUDA build down, Python across, a letter for each publisher."""
    letters = _letters(cells)
    for machine, group in groupby(cells, key=lambda cell: cell.machine):
        rows = list(group)
        pythons = sorted({cell.python for cell in rows}, key=lambda tag: (int(tag[3:].rstrip("t")), tag))
        yield Line((Span(f"{machine}", Style.STRONG), span(f", FlashAttention 2: {_legend(letters)}, . nobody")))
        head = "".join(f"{tag[2]}.{tag[3:]:<4}" for tag in pythons)
        yield Line((span(f"torch  CUDA   {head}".rstrip(), Style.DIM),), verbatim=True)
        for _, line in groupby(rows, key=lambda cell: (cell.torch, cell.tag)):
            yield Line(tuple(_row(list(line), pythons, letters, here)), verbatim=True)
        yield BLANK
    yield Line((span(where),))


def _letters(cells: Iterable[Cell]) -> dict[str, str]:
    """A publisher's first letter; the next one of its name that is free where two begin alike."""
    letters: dict[str, str] = {}
    for name in sorted({name for cell in cells for name in cell.newest}):
        letters[name] = next(letter for letter in f"{name.upper()}#" if letter not in letters.values())
    return letters


def _legend(letters: dict[str, str]) -> str:
    return ", ".join(f"{letter} {name}" for name, letter in letters.items())


def _row(line: list[Cell], pythons: list[str], letters: dict[str, str], here: Sequence[Cell]) -> Iterator[Span]:
    by_python = {cell.python: cell for cell in line}
    yield span(f"{line[0].torch!s:<7}{line[0].tag:<6}")
    for tag in pythons:
        cell = by_python.get(tag)
        text = "" if cell is None else "".join(letters[name] for name in cell.newest) or "."
        if cell is not None and cell in here:
            yield span(f"[{text}]".ljust(6), Style.STRONG)
        else:
            yield span(f" {text}".ljust(6), Style.DIM if text == "." else Style.PLAIN)


def renewal_lines(renewals: Iterable[Renewal], folder: str) -> Iterator[Line]:
    """What each publisher's answer brought."""
    for one in renewals:
        if one.fault:
            yield Line((span(f"{one.publisher}: ", Style.STRONG), span(f"not read: {one.fault}", Style.BAD)), rest="  ")
            continue
        text = f"{count(len(one.added), 'new wheel')}, {count(len(one.replaced), 'replaced file')}"
        yield Line((span(f"{one.publisher}: ", Style.STRONG), span(text)), rest="  ")
        for key in one.replaced[:SHOWN]:
            told = f"{key} is another file than before: the sha256 we pinned still counts; be careful with it"
            yield Line((span(told, Style.WARN),), first="  - ", rest="    ")
        if one.unread:
            told = f"{count(len(one.unread), 'wheel')} left out, whose name does not tell torch and CUDA"
            yield Line((span(told, Style.DIM),), first="  ", rest="  ")
    yield Line((span(f"The facts lie in {folder}"),), verbatim=True)


def coverage_document(cells: Sequence[Cell], here: Sequence[Cell], where: str) -> Json:
    return {
        "schema": "flash-doctor/coverage/1",
        "cells": [
            {
                "machine": cell.machine,
                "torch": str(cell.torch),
                "cuda": cell.tag,
                "python": cell.python,
                "newest": {name: str(version) for name, version in cell.newest.items()},
                "here": cell in here,
            }
            for cell in cells
        ],
        "here": where,
        "exit_code": 0,
    }


def wheels_document(found: Sequence[Wheel], knowledge: Knowledge) -> Json:
    return {
        "schema": "flash-doctor/wheels/1",
        "facts": {
            "shipped": knowledge.shipped,
            "refreshed": knowledge.refreshed,
            "warnings": list(knowledge.warnings),
        },
        "wheels": [_wheel(wheel) for wheel in found],
        "exit_code": 0,
    }


def _wheel(wheel: Wheel) -> Json:
    family = wheel.family
    return {
        "filename": wheel.filename,
        "publisher": family.publisher,
        "release": family.release,
        "url": wheel.url,
        "sha256": wheel.sha256,
        "size": wheel.size,
        "hash_state": wheel.hash_state.value,
        "evidence": family.evidence.value,
        "source": family.source,
        "date": family.date,
        "faults": [fault.summary for fault in family.faults],
    }


def renewal_document(renewals: Iterable[Renewal], folder: str, exit_code: int) -> Json:
    told = [
        {
            "publisher": one.publisher,
            "added": list(one.added),
            "replaced": list(one.replaced),
            "unread": list(one.unread),
            "fault": one.fault or None,
        }
        for one in renewals
    ]
    return {"schema": "flash-doctor/refresh/1", "publishers": told, "folder": folder, "exit_code": exit_code}
