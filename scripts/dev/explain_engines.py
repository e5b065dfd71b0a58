"""Whether RE2 (bytes, ASCII) finds what Python's own engine (text, Unicode) finds with the same patterns.

    .venv/bin/python scripts/dev/explain_engines.py

Every pattern on every recorded text and on mutations of it (seeded): letters of other scripts, other spaces, cut, in
capitals, behind ids. What differs is listed; where it begins and what its groups caught are compared, too.
"""

from __future__ import annotations

import random
import re
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.facts import Facts
from flash_doctor.system.linear import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from cases_told import cases, messages  # noqa: E402 after its path
from slow_logs import an_id  # noqa: E402 after its path


def mutations(text: str, rnd: random.Random) -> Iterator[str]:
    yield text
    yield text.replace("o", "ö", 1)
    yield f"报错{text}错误"
    yield text.replace(" ", "\u00a0", rnd.randrange(1, 4))
    yield text[rnd.randrange(len(text)) :]
    yield text[: rnd.randrange(1, len(text) + 1)]
    yield unicodedata.normalize("NFKD", text.upper())
    yield f"{an_id(rnd)} {text} {an_id(rnd)}"
    place = rnd.randrange(len(text))
    yield f"{text[:place]}{an_id(rnd)}{text[place:]}"


def small(text: str) -> str:
    return " ".join(text.split(" ")).encode().lower().decode()


def main() -> None:
    rnd, texts = random.Random(3), list[str]()
    for symptom in [*(case.symptom for case in cases()), *(message.symptom for message in messages())]:
        texts += [small(" ".join(line.split("\n"))) for line in mutations(symptom, rnd)]
    rows = [text for row in Facts().complaints.by_id.values() for text in (*row.patterns, *row.near, *row.unless)]
    found = differ = 0
    for row in rows:
        own, ours = re.compile(row), pattern(row)
        for text in texts:
            raw = text.encode()
            theirs, match = own.search(text), ours.search(raw)
            found += match is not None
            said = theirs and (
                len(text[: theirs.start()].encode()),
                {k: v or "" for k, v in theirs.groupdict().items()},
            )
            say = match and (match.start, {name: match[name] for name in own.groupindex})
            if said != say:
                differ += 1
                print(f"{row!r}: {said} by re, {say} by RE2, in {text[:160]!r}")
    print(f"{len(rows)} patterns, {len(texts)} texts, {found} matches, {differ} differ")


if __name__ == "__main__":
    main()
