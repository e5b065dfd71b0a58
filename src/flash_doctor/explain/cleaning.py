"""Lines as a program meant them: without colours, progress bars, and the prefixes that launchers put before them.

These three are the only expressions of Python's own engine that read a log: they are fixed and small, none has a
quantifier without a bound within another, and what one repeats cannot begin the next, so that each reads a character a
bounded number of times.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from flash_doctor.system.redact import log_line

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;:?]{0,40}[ -/]{0,4}[@-~]|\][^\x07\x1b\n]{0,200}(?:\x07|\x1b\\)?|[@-Z\\^_=>])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# up to four of them at the start of a line, which begins without a space
_PREFIXES = re.compile(
    r"""^(?:(?:
        \[[ ]?(?:rank|default|node|worker|host|local)?[ _-]?(?:\d{1,5},)?\d{1,5}[ ]?\](?:<\w{1,9}>)?:?
      | (?:rank|worker|node)[ _-]?\d{1,5}:                                                # rank 3:
      | \d{1,5}:(?=[ \t])                                                                 # 3: srun --label
      | \([\w.:-]{0,60}[ ]?pid=\d{1,9}[^()\n]{0,80}\)                                     # (worker pid=7, ip=...) Ray
      | \(\w{1,40}[ ]rank=\d{1,5}\)
      | \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.]{0,12}Z?(?=[ \t])                              # time stamps of CI and docker
      | [\w.-]{1,40}-\d{1,3}[ \t]{1,20}\|                                                 # docker compose
      | E[ \t]{2,40}                                                                      # pytest
      | [│├╰╭─▶×┃|>]{1,4}(?=[ \t])                                                        # trees and boxes
    )[ \t]{0,40}){1,4}""",
    re.VERBOSE | re.MULTILINE,
)


def clean_text(text: str) -> list[str]:
    r"""Its lines (ended by `\n` or `\r`) without escapes and launcher prefixes; inner spaces stay, as plain ones."""
    text = text.replace("\r", "\n").replace("\u00a0", " ").replace("\u3000", " ")
    text = _ESCAPES.sub("", text) if "\x1b" in text else text
    text = "\n".join(map(str.strip, _CONTROL.sub("", text).split("\n")))
    text, changed = _PREFIXES.subn("", text)
    return [line.strip() for line in text.split("\n")] if changed else text.split("\n")


def without_signs(text: str) -> str:
    """Without escapes and control signs; every space stays where it was."""
    return _CONTROL.sub("", _ESCAPES.sub("", text) if "\x1b" in text else text)


def clean_line(text: str) -> str:
    """One line without escapes and launcher prefixes; inner spaces stay."""
    return clean_text(text)[0]


def clean_lines(raw: bytes, at_most: int) -> list[str]:
    """The first lines that are not empty; a carriage return begins a new one. There is always at least one."""
    pieces = raw.decode("utf-8", "replace").replace("\r", "\n").split("\n", 4 * at_most)[: 4 * at_most]
    return [line for line in clean_text("\n".join(pieces)) if line][:at_most] or [""]


_SHOWN = 600  # characters of a line that is shown
_WORD = 2 * _SHOWN  # characters without a space: no message


class Seen(NamedTuple):
    """A line to be shown, cleaned; of one that was too long to be read whole, the piece and what stands around it."""

    line: str
    before: bytes = b""
    piece: bytes = b""
    after: bytes = b""


def shown(seen: Seen) -> str:
    """The beginning of a line, redacted before it is cut, together with what stands around it."""
    if " " not in seen.line[:_WORD] and len(seen.line) > _WORD:
        return f"(one word of {len(seen.line):,} characters)"
    if not seen.before and not seen.after:
        return log_line(seen.line, _SHOWN)
    before, piece, after = (without_signs(each.decode("utf-8", "replace")) for each in seen[1:])
    return clean_line(log_line(piece, _SHOWN, before=before, after=after))
