"""Changes that know what they change: JSON values, words of a text, numbers in a binary.

Each takes a random.Random and whole seeds, and gives bytes; the same state gives the same bytes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from fuzzing.hostile import NUMBERS, RAWS, SCALARS, TEXTS, Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random


def hostile(random: Random) -> Any:
    """A value that stands where another was expected."""
    kind = random.randrange(10)
    if kind < 5:
        return random.choice(TEXTS)
    if kind < 8:
        return random.choice(NUMBERS)
    return Raw(random.choice(RAWS)) if kind == 8 else random.choice(SCALARS)


def _changed(value: Any, random: Random, others: Sequence[Any]) -> Any:
    """The value with one place in it changed; only what lies on the way to that place is copied."""
    if isinstance(value, dict) and value and random.random() < 0.93:
        key = random.choice(list(value))
        made = dict(value)
        kind = random.randrange(40)
        if kind == 0:
            del made[key]
        elif kind == 1:
            made[random.choice(TEXTS)] = hostile(random)
        elif kind == 2:
            made[random.choice(list(value))] = value[key]
        else:
            made[key] = _changed(value[key], random, others)
        return made
    if isinstance(value, list) and value and random.random() < 0.9:
        made_list, at = list(value), random.randrange(len(value))
        kind = random.randrange(30)
        if kind == 0:
            del made_list[at]
        elif kind == 1:
            made_list[at:at] = [value[at]] * random.choice((1, 3, 300))
        elif kind == 2:
            random.shuffle(made_list)
        else:
            made_list[at] = _changed(value[at], random, others)
        return made_list
    return random.choice(others) if others and random.randrange(8) == 0 else _other(value, random)


def _other(value: Any, random: Random) -> Any:
    """Something like it, more often than not."""
    kind = random.randrange(10)
    if isinstance(value, str) and kind < 4:
        return word(value, random)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and kind < 4:
        return random.choice((-value, value + 1, value - 1, value * 1000, str(value), float(value) / 3, value * 10**12))
    return hostile(random)


def word(text: str, random: Random) -> str:
    """A text with one piece of it cut, doubled, or exchanged."""
    at = random.randrange(len(text) + 1)
    end = min(len(text), at + random.choice((0, 0, 1, 1, 2, 5, 20)))
    return (
        text[:at] + random.choice(("", text[at:end] * 2, random.choice(TEXTS), chr(random.randrange(256)))) + text[end:]
    )


def dumped(value: Any) -> bytes:
    raws: list[str] = []

    def mark(found: object) -> str:
        assert isinstance(found, Raw), found
        raws.append(found.text)
        return f"@raw{len(raws) - 1}@"

    text = json.dumps(value, default=mark)
    for number, raw in enumerate(raws):
        text = text.replace(f'"@raw{number}@"', raw)
    return text.encode("utf-8", "surrogatepass")


def json_value(random: Random, seeds: Sequence[Any], others: Sequence[Any] = ()) -> bytes:
    """A JSON document: one of the seeds with one to four places changed, and now and then its text too."""
    value = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 2, 4))):
        value = _changed(value, random, others)
    data = dumped(value)
    return damaged(random, [data]) if random.randrange(20) == 0 else data


def json_lines(random: Random, seeds: Sequence[Any]) -> bytes:
    lines = [json_value(random, seeds) for _ in range(random.choice((1, 2, 5, 20)))]
    return random.choice((b"\n", b"\r\n", b"\n\n")).join(lines)


_WORD = re.compile(r"\w+|[^\w\s]|[ \t]+|\r?\n")


_LONGEST_TEXT = 4 << 20  # bytes: what doubles and doubles again measures the machine, not the reader


def text_of(random: Random, seeds: Sequence[str], words: Sequence[str] = ()) -> bytes:
    """A text: words and lines of a seed exchanged, doubled, moved, and mixed with those of its language."""
    pieces = _WORD.findall(random.choice(seeds))
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        at = random.randrange(len(pieces) + 1)
        kind = random.randrange(9)
        if kind < 3:
            pieces[at:at] = [random.choice(words or TEXTS)] * random.choice((1, 1, 1, 2, 30))
        elif kind == 3:
            pieces[at:at] = [random.choice(TEXTS)]
        elif kind == 4:
            del pieces[at : at + random.choice((1, 1, 3, 20))]
        elif kind == 5:
            pieces[at:at] = pieces[at : at + random.choice((1, 5, 30))] * random.choice((1, 1, 2, 50))
        elif kind == 6:
            other = _WORD.findall(random.choice(seeds))
            begin = random.randrange(len(other) + 1)
            pieces[at : at + 5] = other[begin : begin + random.choice((1, 5, 40))]
        elif kind == 7 and at < len(pieces):
            pieces[at] = word(pieces[at], random)
        else:
            pieces[at:at] = [str(random.choice(NUMBERS))]
    data = "".join(pieces).encode("utf-8", "surrogatepass")[:_LONGEST_TEXT]
    return damaged(random, [data]) if random.randrange(25) == 0 else data


_WIDTHS = (1, 2, 2, 4, 4, 4, 8, 8)
_EDGES = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    1 << 63,
    (1 << 64) - 1,
)


def damaged(
    random: Random, seeds: Sequence[bytes], fields: Callable[[bytes], Sequence[tuple[int, int]]] | None = None
) -> bytes:
    """A binary with one to six numbers, bytes or pieces of it changed; `fields` gives places of numbers and widths."""
    seed = random.choice(seeds)
    data = bytearray(seed)
    places = fields(seed) if fields else ()
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        if places and random.random() < 0.75:
            at, width = random.choice(places)
        else:
            at, width = random.randrange(len(data) + 1), random.choice(_WIDTHS)
        _change(data, at, width, random)
    return bytes(data)


def _change(data: bytearray, at: int, width: int, random: Random) -> None:
    kind = random.randrange(12)
    if kind < 6:
        data[at : at + width] = _number(data[at : at + width], width, random)
    elif kind < 8 and at < len(data):
        data[at] ^= 1 << random.randrange(8)
    elif kind == 8:
        del data[at:]
    elif kind == 9:
        del data[at : at + random.choice((1, 4, 16, 200))]
    elif kind == 10:
        data[at:at] = random.randbytes(random.choice((1, 2, 8, 64)))
    else:
        begin = random.randrange(len(data) + 1)
        data[at:at] = data[begin : begin + random.choice((4, 16, 64, 500))] * random.choice((1, 1, 1, 20))


def _number(old: bytes, width: int, random: Random) -> bytes:
    value = int.from_bytes(old, "little")
    new = random.choice(
        (value + 1, value - 1, value * 2, value ^ 1 << random.randrange(8 * width), *[random.choice(_EDGES)] * 4)
    )
    return (new % (1 << 8 * width)).to_bytes(width, "little")
