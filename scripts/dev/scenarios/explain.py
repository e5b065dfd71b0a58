"""`doctor explain` on a training log of two gigabytes whose last line holds the error, against grep and cat."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import Contestant

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "explain: a training log of 2 GB"
SIZE = 2_000_000_000
ERROR = "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"


def contestants(work: Path) -> list[Contestant]:
    log = _log(work)
    ours = str(Path(sys.executable).with_name("flash-doctor"))
    return [
        Contestant("flash-doctor explain", [ours, "explain", str(log)], "at most 20 s (100 MB/s), 100 MB"),
        Contestant("grep -ciE 'error|warn|fail'", ["grep", "-ciE", "error|warn|fail", str(log)]),
        Contestant("cat", ["cat", str(log)]),
    ]


def _log(work: Path) -> Path:
    """Made once: lines as a trainer writes them, every tenth with a warning in it."""
    path = work / "train.log"
    if not path.exists() or path.stat().st_size < SIZE:
        work.mkdir(parents=True, exist_ok=True)
        block = "".join(_lines(20_000)).encode()
        with path.open("wb") as file:
            for _ in range(SIZE // len(block) + 1):
                file.write(block)
            file.write(ERROR.encode())
    return path


def _lines(number: int) -> Iterator[str]:
    for step in range(number):
        stamp = f"2026-01-02 {step // 3600 % 24:02d}:{step // 60 % 60:02d}:{step % 60:02d}"
        if step % 10 == 0:
            yield f"[rank{step % 8}]: {stamp} WARNING dataloader: batch {step} was slow ({step % 977} ms)\n"
        else:
            yield f"{stamp} INFO trainer: {{'loss': {step % 997 / 100:.4f}, 'grad_norm': {step % 31 / 7:.3f}}}\n"
