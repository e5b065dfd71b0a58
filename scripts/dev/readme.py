"""Brings transcripts and generated tables of README.md and docs/ up to date: .venv/bin/python scripts/dev/readme.py"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("", "diagnose", "fleet")]


def main() -> None:
    from kept import TORCH_VENV
    from transcripts import refreshed, room

    with room() as folder:
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
            page.write_text(refreshed(page.read_text(encoding="utf-8"), folder, TORCH_VENV), encoding="utf-8")


if __name__ == "__main__":
    main()
