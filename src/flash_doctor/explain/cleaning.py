"""Lines as a program meant them: without colours, progress bars, and the prefixes that launchers put before them."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;:?]{0,40}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?|[@-Z\\^_=>])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PREFIX = re.compile(
    r"""\s*(?:
        \[\s?(?:rank|default|node|worker|host|local)?[\s_-]?(?:\d{1,5},)?\d{1,5}\s?\](?:<\w{1,9}>)?:?
      | (?:rank|worker|node)[\s_-]?\d{1,5}:                                               # rank 3:
      | \d{1,5}:(?=\s)                                                                    # 3: srun --label
      | \([\w.:-]{0,60}\s?pid=\d{1,9}[^()]{0,80}\)                                        # (worker pid=7, ip=...) Ray
      | \(\w{1,40}[ ]rank=\d{1,5}\)
      | \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.]{0,12}Z?(?=\s)                                 # time stamps of CI and docker
      | [\w.-]{1,40}-\d{1,3}\s{1,20}\|                                                    # docker compose
      | E\s{2,}                                                                           # pytest
      | [│├╰╭─▶×┃|>]{1,4}(?=\s)                                                           # trees and boxes
    )\s?""",
    re.VERBOSE,
)
_PREFIXES_AT_MOST = 4
_RANK = re.compile(r"(?:rank|default)[\s_-]?(\d{1,5})", re.IGNORECASE)


def clean_line(text: str) -> str:
    """One line without escapes and launcher prefixes; inner spaces stay."""
    text = _CONTROL.sub("", _ESCAPES.sub("", text))
    for _ in range(_PREFIXES_AT_MOST):
        found = _PREFIX.match(text)
        if not found or not found.end():
            break
        text = text[found.end() :]
    return text.strip()


def clean_lines(raw: bytes, at_most: int) -> list[str]:
    """The first lines that are not empty; a carriage return begins a new one. There is always at least one."""
    text = raw.decode("utf-8", "replace").replace("\r", "\n")
    lines = []
    for line in text.split("\n", 4 * at_most)[: 4 * at_most]:
        if cleaned := clean_line(line):
            lines.append(cleaned)
        if len(lines) == at_most:
            break
    return lines or [""]
