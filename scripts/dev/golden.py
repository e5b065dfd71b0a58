"""Writes the golden tree, what every command says: .venv/bin/python scripts/dev/golden.py [--check] [BOOK...]

--check writes nothing, shows the first differences and ends with 1 where there are any. A BOOK is a name under
tests/golden/commands, or how several begin, as `machines/` or `plan`; without one all are meant.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("", "diagnose", "fleet")]
SHOWN = 120  # rows of differences


def main() -> int:
    """Write or compare; the exit code."""
    from golden_books import books
    from goldens import READ_ONCE, TREE, read_once

    options = _options()
    chosen = [book for book in books() if book.name.startswith(options.book)]
    if gone := set(READ_ONCE) - set(read_once()):
        print(f"slower than it was: there is no {', '.join(sorted(gone))} any more (READ_ONCE in tests/goldens.py)")
    with ProcessPoolExecutor(options.jobs) as pool:
        texts = dict(zip((book.file for book in chosen), pool.map(_text, [book.name for book in chosen]), strict=True))
    stale = {path for path in TREE.rglob("*.txt") if _name(path, TREE).startswith(options.book)} - set(texts)
    changed = {path: text for path, text in texts.items() if _now(path) != text} | dict.fromkeys(stale, "")
    if options.check:
        rows = [row for path, text in sorted(changed.items()) for row in _difference(path, text)]
        print("\n".join(rows[:SHOWN]) or "The golden tree is as the commands say.")
        print(f"{len(changed)} of {len(texts)} books differ") if changed else None
        return 1 if changed else 0
    for path, text in changed.items():
        _write(path, text)
    print(f"{len(changed)} of {len(texts)} books written")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("book", nargs="*", default=[""])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    options.book = tuple(options.book) or ("",)
    return options


def _text(name: str) -> str:
    from golden_books import books
    from goldens import written

    return next(written(book) for book in books() if book.name == name)


def _name(path: Path, tree: Path) -> str:
    return path.relative_to(tree).with_suffix("").as_posix()


def _now(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _difference(path: Path, text: str) -> list[str]:
    name = str(path.relative_to(ROOT))
    return list(difflib.unified_diff(_now(path).splitlines(), text.splitlines(), name, "now", lineterm=""))


def _write(path: Path, text: str) -> None:
    """The book, or no file where it is one no more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if text:
        path.write_text(text, encoding="utf-8")
    else:
        path.unlink()


if __name__ == "__main__":
    sys.exit(main())
