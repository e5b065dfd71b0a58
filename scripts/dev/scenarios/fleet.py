"""`doctor fleet compare` on the reports of 1,000, 10,000 and 100,000 nodes: is it linear, and does memory stay?"""

from __future__ import annotations

import sys
from pathlib import Path

from bench import Contestant

TITLE = "fleet compare: JSON lines of 35 kB a node, from a file"
TESTS = Path(__file__).parents[3] / "tests" / "fleet"
SIZES = {10_000: "under 3 s, 500 MB", 1_000: "a tenth", 100_000: "ten times"}


def contestants(work: Path) -> list[Contestant]:
    doctor = str(Path(sys.executable).with_name("flash-doctor"))
    return [
        Contestant(f"{size:,} nodes", [doctor, "fleet", "compare", str(_reports(work, size))], promise, codes=(1,))
        for size, promise in SIZES.items()
    ]


def _reports(work: Path, size: int) -> Path:
    """Made once and kept: 3.5 GB for the largest."""
    file = work / f"fleet-{size}.jsonl"
    if not file.exists():
        sys.path.insert(0, str(TESTS))
        from reports import many

        work.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".draft")
        with draft.open("w") as stream:
            stream.writelines(f"{line}\n" for line in many(size))
        draft.rename(file)
    return file
