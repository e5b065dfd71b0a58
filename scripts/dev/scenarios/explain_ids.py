"""`doctor explain` on 10 MB of lines with ids, of letters, and of lines that all complain, against grep and cat."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import Contestant

TESTS = Path(__file__).parents[3] / "tests"
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
    """Made once, seeded, by a child: what it takes would count as the peak of every contestant."""
    path = work / f"{kind}.log"
    if not path.exists() or path.stat().st_size < SIZE:
        code = f"import pathlib, slow_logs; pathlib.Path({str(path)!r}).write_bytes(slow_logs.log({kind!r}, {SIZE}))"
        subprocess.run([sys.executable, "-c", code], cwd=TESTS, check=True)
    return path
