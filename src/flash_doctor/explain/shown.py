"""A line of a log as it is shown: without secrets, and of bounded length."""

from __future__ import annotations

from typing import NamedTuple

from flash_doctor.explain.cleaning import clean_line, without_signs
from flash_doctor.system.redact import log_line

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
