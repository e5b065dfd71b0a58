"""A line of a log as it is shown: without secrets, and of bounded length."""

from __future__ import annotations

from flash_doctor.system.redact import log_line

_SHOWN = 600  # characters of a line that is shown
_READ = 2 * _SHOWN  # characters that are searched for secrets: a mask is shorter than what it stands for


def shown(line: str) -> str:
    """The beginning of a line, redacted. A word is never cut before it was redacted: its rest may be a secret."""
    if len(line) > _READ:
        line = line[:_READ].rpartition(" ")[0] or f"(one word of {len(line):,} characters)"
    return log_line(line, _SHOWN)
