r"""A text as it was meant, where it was quoted on its way: for an address, for HTML, for JSON, or by colours.

`password%3Dx`, `&quot;password&quot;:&quot;x&quot;` and `password\x1b[0m=x` hide no secret from whoever reads them, so
secrets are looked for once more in the plain form, and masked where its signs came from.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# signs that join a name and its value, and, of an address that is quoted as a whole, those that hold it together;
# quoted more than once too (%253D). `%2B` and its kind stay: they stand in the names of wheels.
_JOINTS = {"3a": ":", "3d": "=", "26": "&", "22": '"', "27": "'", "20": " ", "7b": "{", "7d": "}", "2c": ","}
_OF_ADDRESSES = {"2f": "/", "40": "@", "3f": "?"}
_ENTITIES = {
    "quot": '"',
    "apos": "'",
    "amp": "&",
    "#34": '"',
    "#39": "'",
    "#x22": '"',
    "#x27": "'",
    "#61": "=",
    "#x3d": "=",
    "#58": ":",
    "#x3a": ":",
}
_ADDRESS = re.compile(r"(?i)(?:%(?:25){0,3}3a|:)(?:%(?:25){0,3}2f){1,2}")
_WRITTEN = re.compile(
    r"(?i)%(?:25){0,3}(?P<percent>3a|3d|26|22|27|20|7b|7d|2c|2f|40|3f)"
    r"|&(?P<entity>quot|apos|amp|#34|#39|#x22|#x27|#61|#x3d|#58|#x3a);"
    r"|\\{1,4}u00(?P<json>22|27|3d|3a|40|2f|26|3f)|\\{1,4}(?P<slash>/)"
    r"|(?P<colour>(?:\x1b|\\{1,2}(?:x1b|033|u001b|e))\[[0-9;]{0,20}m)"
    r"|(?:(?<=http)|(?<=https)|(?<=ssh)|(?<=ftp)|(?<=redis)|(?<=postgres)|(?<=postgresql)|(?<=mysql)|(?<=mongodb))"
    r"(?P<single>:/)(?!/)"
)
_ANY = re.compile(r"%(?:25)*[2-7][0-9a-dA-D]|&(?:quot|apos|amp|#)|\\u00|\\/|\[[0-9;]*m|[a-zA-Z]:/(?!/)")


class Plain(NamedTuple):
    """The plain form of a text, and of each of its signs where in the text it began and ended."""

    text: str
    starts: list[int]
    ends: list[int]

    def origin(self, start: int, stop: int) -> tuple[int, int]:
        """The piece of the text that a piece of the plain form, not empty, stands for."""
        return self.starts[start], self.ends[stop - 1]


def plain(text: str) -> Plain | None:
    """The plain form; None where the text is plain."""
    if not _ANY.search(text):
        return None
    of_address = _ADDRESS.search(text) is not None
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for found in _WRITTEN.finditer(text):
        meant = _meant(found, of_address=of_address)
        if meant is None:
            continue
        pieces += [text[done : found.start()], meant]
        starts += [*range(done, found.start()), *[found.start()] * len(meant)]
        ends += [*range(done + 1, found.start() + 1), *[found.end()] * len(meant)]
        done = found.end()
    if not done:
        return None
    pieces.append(text[done:])
    starts += range(done, len(text))
    ends += range(done + 1, len(text) + 1)
    return Plain("".join(pieces), starts, ends)


def _meant(found: re.Match[str], *, of_address: bool) -> str | None:
    """The signs that one quoted sign stands for; None where it is left as it is."""
    kind = found.lastgroup
    if kind == "percent":
        sign = found[kind].lower()
        return _JOINTS.get(sign) or (_OF_ADDRESSES[sign] if of_address else None)
    if kind == "entity":
        return _ENTITIES[found[kind].lower()]
    if kind == "json":
        return chr(int(found[kind], 16))
    return {"slash": "/", "single": "://"}.get(kind or "", "")
