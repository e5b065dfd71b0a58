"""RE2's door: what a first pass may pass over, and what it costs."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from cases_told import FACTS, cases, messages
from flash_doctor.system.linear import AnyOf, Choice, NotLinear, Pattern, Work, fault
from slow_logs import literals

COMPLAINTS = FACTS.complaints
TEXTS = [text for row in COMPLAINTS.ranked for text in row.patterns]


def test_groups_are_told_by_name_and_in_bytes() -> None:
    found = Pattern(r"need (?P<what>\S+)(?: or (?P<other>\w+))?").search("möchte need ä-2 now".encode())
    assert found
    assert (found.start, found["what"], found["other"], str(found)) == (8, "ä-2", "", "need ä-2")
    assert "other" not in found.spans


def test_counts_hold_in_the_second_pass() -> None:
    pattern = Pattern(r"a[^\n]{0,5}b")
    assert pattern.counts
    assert pattern.may_stand(b"--a12345678b") == 2
    assert pattern.search(b"--a12345678b") is None
    assert pattern.search(b"--a12345b" + b" " * 400)
    assert not Pattern("plain{1,2}").counts


@pytest.mark.parametrize("text", [r"a(?!b)", r"(?<=a)b", r"(a)\1", "(a", "a{5000}"])
def test_what_cannot_be_linear_is_refused(text: str) -> None:
    assert fault(text).startswith("is no regular expression of linear time")
    with pytest.raises(NotLinear):
        Pattern(text)
    with pytest.raises(NotLinear):
        Choice([text])


def test_what_matches_nothing_is_a_fault() -> None:
    assert fault("x*") == "matches the empty text"
    assert fault("x+") == ""


def test_one_of_several() -> None:
    assert AnyOf(("a|b", "c")).stands(b"xxb")
    assert not AnyOf(("a|b", "c")).stands(b"xxd")
    assert not AnyOf(()).stands(b"a")


def test_no_pattern_that_matches_is_passed_over() -> None:
    """Over every recorded text: what stands in it is among what may stand, by letters and in the first pass."""
    choice, patterns, seen = COMPLAINTS.patterns, [Pattern(text) for text in TEXTS], 0
    for symptom in (*(case.symptom for case in cases()), *(message.symptom for message in messages())):
        text = " ".join(symptom.split()).encode().lower()
        there = {index for index, pattern in enumerate(patterns) if pattern.search(text)}
        assert there <= set(choice.possible(text, Work()))
        assert all(patterns[index].may_stand(text) is not None for index in there)
        seen += len(there)
    assert seen > 500


def test_the_letters_of_each_pattern_make_it_possible() -> None:
    choice, order = COMPLAINTS.patterns, {text: place for place, text in enumerate(TEXTS)}
    for row in COMPLAINTS.by_id.values():
        for text in row.patterns:
            letters = literals()[[t for r in COMPLAINTS.by_id.values() for t in r.patterns].index(text)]
            if Pattern(text).search(letters.encode()):
                assert order[text] in choice.possible(letters.encode(), Work())


RUNS = st.text("abc ", min_size=1, max_size=30)


@given(run=RUNS, other=RUNS, before=st.text("abc x", max_size=20), after=st.text("abc x", max_size=20))
def test_short_runs_never_hide_a_match(run: str, other: str, before: str, after: str) -> None:
    text = f"(?:{run}|{other})?{run}{other}?x{{2,9}}(?:{other}y|z)"
    line = f"{before}{run}{other}xxx{other}y{after}".encode()
    assert Pattern(text).search(line)
    assert Choice([text, "never"]).possible(line, Work()) == [0]


def test_work_counts_what_was_read() -> None:
    work = Work()
    Pattern("abc").search(b"x" * 100_000, work)
    once, searches = work.steps, work.searches
    Pattern("abc").search(b"x" * 200_000, work)
    assert searches == 1
    assert 100_000 <= once < work.steps - once
