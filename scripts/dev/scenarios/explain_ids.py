"""`doctor explain` on 10 MB of lines with ids, of letters, and of lines that all complain, against grep and cat."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import Contestant

sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))

from slow_logs import log

TITLE = "explain: 10 MB of lines that hold ids, or all complain"
SIZE = 10_000_000
KINDS = ("uuid", "ids", "letters", "matching", "complaints", "many-complaints", "one-line")


def contestants(work: Path) -> list[Contestant]:
    work.mkdir(parents=True, exist_ok=True)
    ours = str(Path(sys.executable).with_name("flash-doctor"))
    logs = [_log(work, kind) for kind in KINDS]
    promise = "at most 3 s, 60 MB"
    return [
        *(Contestant(f"flash-doctor explain {path.name}", [ours, "explain", str(path)], promise) for path in logs),
        Contestant("grep -ciE 'error|warn|fail'", ["grep", "-ciE", "error|warn|fail", str(logs[0])]),
        Contestant("cat", ["cat", str(logs[0])]),
    ]


def _log(work: Path, kind: str) -> Path:
    """Made once, seeded."""
    path = work / f"{kind}.log"
    if not path.exists() or path.stat().st_size < SIZE:
        path.write_bytes(log(kind, SIZE))
    return path
