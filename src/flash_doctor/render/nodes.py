"""Node names for people: `gpu[001-128,130]` instead of 129 names, as Slurm writes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flash_doctor.render.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NUMBERED = re.compile(r"(.*?)(\d{1,18})(\D*)", re.ASCII | re.DOTALL)


def fold(names: Iterable[str]) -> tuple[str, ...]:
    """The names in ranges over their last number, numbers of one width together; in the order of their names."""
    families: dict[tuple[str, str, int], set[int]] = {}
    plain = set()
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match:
            before, digits, after = match.groups()
            # 9 and 10 belong together, 09 and 10 too, but 9 and 09 are two names
            width = len(digits) if digits.startswith("0") or len(digits) == 1 else 0
            families.setdefault((before, after, width), set()).add(int(digits))
        else:
            plain.add(name)
    folded = [*plain, *(text for family in _joined(families) for text in family)]
    return tuple(sorted(folded))


def _joined(families: dict[tuple[str, str, int], set[int]]) -> Iterator[Iterator[str]]:
    """Numbers without a leading zero go to the padded ones of their length, else to those of any length."""
    loose = [key for key in families if key[2] == 0]
    for before, after, _ in loose:
        for number in sorted(families.pop((before, after, 0))):
            padded = (before, after, len(str(number)))
            home = padded if len(str(number)) > 1 and padded in families else (before, after, 1)
            families.setdefault(home, set()).add(number)
    for (before, after, width), numbers in families.items():
        yield _written(before, after, width, sorted(numbers))


def _written(before: str, after: str, width: int, numbers: list[int]) -> Iterator[str]:
    runs = list(_runs(numbers))
    if len(numbers) == 1:
        yield f"{before}{numbers[0]:0{width}d}{after}"
        return
    texts = [f"{a:0{width}d}" if a == b else f"{a:0{width}d}-{b:0{width}d}" for a, b in runs]
    yield f"{before}[{','.join(texts)}]{after}"


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbours in sorted numbers."""
    start = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield start, last
            start = number
        last = number
    yield start, last


def folded(names: Iterable[str], limit: int = 60) -> str:
    """The names as one text; what passes `limit` characters is counted instead."""
    names = tuple(clean(name) for name in names)
    texts = fold(names)
    whole = ", ".join(texts)
    if len(whole) <= limit:
        return whole
    cut = whole[:limit].rpartition(",")[0] or whole[:limit]
    return f"{cut}… ({len(names):,} {'node' if len(names) == 1 else 'nodes'})"
