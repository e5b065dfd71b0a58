"""How well `doctor explain` knows messages it was not written from: the recorded cases, each without its own thread.

    .venv/bin/python scripts/dev/explain_report.py [--wrong]

A pattern counts as written from a thread when, of all recorded texts (the cases, and the messages of other threads
beside them), only that thread's own match it. For each case such patterns of its own thread are taken out of the
catalogue, and the rest answers.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.facts import Facts
from flash_doctor.system.linear import Pattern, pattern

if TYPE_CHECKING:
    from flash_doctor.facts.complaints import Complaint, Complaints, Question

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from cases_told import Case, Message, cases, first_family, messages, told, told_with_machine, words  # noqa: E402 after its path


def threads_of_patterns(complaints: Complaints) -> dict[tuple[str, str], set[str]]:
    """(complaint, pattern) -> threads whose recorded text it matches."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for complaint in complaints.by_id.values():
        for text in complaint.patterns:
            found[complaint.id, text] = matching(pattern(text))
        for question in complaint.asked:
            found[complaint.id, question.text] = asking(question)
    return found


def matching(finder: Pattern) -> set[str]:
    """Threads whose recorded text the pattern matches."""
    own = {case.thread for case in cases() if finder.search(flowing(case))}
    return own | {message.source for message in messages() if finder.search(flowing(message))}


def asking(question: Question) -> set[str]:
    """Threads whose recorded text asks the question."""
    own = {case.thread for case in cases() if any(question.weight(flowing(case)))}
    return own | {message.source for message in messages() if any(question.weight(flowing(message)))}


def flowing(case: Case | Message) -> bytes:
    return " ".join(case.symptom.split()).encode().lower()


class Without(Facts):
    """The facts without what was written from one thread alone."""

    def __init__(self, thread: str, written_from: dict[tuple[str, str], set[str]]) -> None:
        super().__init__()
        kept = {
            name: without_thread(complaint, thread, written_from)
            for name, complaint in super().complaints.by_id.items()
        }
        self.__dict__["complaints"] = replace(super().complaints, by_id=kept)


def without_thread(complaint: Complaint, thread: str, written_from: dict[tuple[str, str], set[str]]) -> Complaint:
    patterns = tuple(text for text in complaint.patterns if written_from[complaint.id, text] != {thread})
    asked = tuple(question for question in complaint.asked if written_from[complaint.id, question.text] != {thread})
    return replace(complaint, patterns=patterns, asked=asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--wrong", action="store_true", help="list the cases that are not answered without their thread"
    )
    options = parser.parse_args()
    written_from = threads_of_patterns(Facts().complaints)
    number = len(cases())
    right = sum(first_family(told_with_machine(case)) == case.family for case in cases())
    alone = sum(first_family(told(case)) == case.family for case in cases())
    facts = sum(all(key in words(told_with_machine(case)) for key in case.key) for case in cases())
    wrong = [
        (case, answer)
        for case in cases()
        if (answer := first_family(told_with_machine(case, Without(case.thread, written_from)))) != case.family
    ]
    print(
        f"family right: {right} of {number} ({right / number:.1%}); from the text alone: {alone} ({alone / number:.1%})"
    )
    print(f"key fact told: {facts} of {number} ({facts / number:.1%})")
    print(
        f"family right without the case's own thread: {number - len(wrong)} of {number} ({1 - len(wrong) / number:.1%})"
    )
    if options.wrong:
        for case, answer in wrong:
            print(f"  {case.id}: {case.family}, answered {answer or 'nothing'}")


if __name__ == "__main__":
    main()
