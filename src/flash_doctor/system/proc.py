"""What the kernel tells of a process, by its number: whether it waited for a core, whether it is still there."""

from __future__ import annotations

import time
from pathlib import Path


def queued(pid: int) -> float:
    """Seconds for which a process was ready to run and got no core; 0 where the kernel does not count them."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def survives(pid: int, seconds: float) -> bool:
    """Whether a child of ours that was sent SIGKILL is still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while _is_alive(pid):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.05)
    return False


def _is_alive(pid: int) -> bool:
    """A child that ended and was not waited for keeps its number, as a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {"Z", "X"}
