"""The catalogue: patterns are linear in time, general, and every row leads somewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from cases_told import FACTS, cases
from flash_doctor.errors import BadFacts
from flash_doctor.explain.machine import CHECKS
from flash_doctor.explain.refine import _OWNERS
from flash_doctor.facts import Facts
from flash_doctor.facts.complaints import load
from flash_doctor.system.linear import Work
from word_edges import EDGE, open_words

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.facts.complaints import Complaint

parser: Any = getattr(re, "_parser", None) or __import__("sre_parse")
COMPLAINTS = FACTS.complaints
ROWS = list(COMPLAINTS.by_id.values())
# what the collected threads are about, and what everybody meets without opening a thread
OF_CASES = {case.family for case in cases()}
FAMILIES = OF_CASES | {"gpu-out-of-memory"}
# reached by code that read a symbol or compared with the machine
BY_CODE = {*_OWNERS.values(), *(row.family for row in COMPLAINTS.libraries), "gpu-newer-than-wheel", "gpu-not-too-old"}


def patterns(row: Complaint) -> tuple[str, ...]:
    asked = (term.text for question in row.asked for term in (*question.terms, *question.never))
    return (*row.patterns, *row.near, *row.unless, *asked)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_leads_somewhere(row: Complaint) -> None:
    assert row.patterns or row.asked or row.id in BY_CODE
    assert row.family in FAMILIES
    assert row.advice
    assert all(name in COMPLAINTS.by_id or name in FAMILIES for name in row.absorbs)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", thread) for thread in row.threads)


def test_every_family_of_the_cases_has_a_row() -> None:
    assert {row.family for row in ROWS} == FAMILIES
    assert OF_CASES < FAMILIES
    assert set(CHECKS) <= FAMILIES
    assert {row.family for row in COMPLAINTS.libraries} <= set(COMPLAINTS.by_id)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_patterns_are_linear_and_in_small_letters(row: Complaint) -> None:
    for pattern in patterns(row):
        assert not re.search(r"(?<!\\)[A-Z]", re.sub(r"\(\?P<\w+>|\\[A-Z]", "", pattern)), pattern
        assert nesting(parser.parse(pattern)) <= 1, f"a quantifier stands within another: {pattern}"
        assert not any(name.startswith("GROUPREF") for name in operations(parser.parse(pattern))), pattern


def nesting(tree: Any) -> int:
    """How deep repetitions of more than one token stand within each other; a bounded optional part is none."""
    deepest = 0
    for operation, argument in tree:
        if str(operation) in {"MAX_REPEAT", "MIN_REPEAT"}:
            _, high, body = argument
            repeats = high > 3
            deepest = max(deepest, nesting(body) + repeats)
        elif str(operation) == "SUBPATTERN":
            deepest = max(deepest, nesting(argument[-1]))
        elif str(operation) == "BRANCH":
            deepest = max([deepest, *map(nesting, argument[1])])
        elif str(operation) in {"ASSERT", "ASSERT_NOT"}:
            deepest = max(deepest, nesting(argument[1]))
    return deepest


def operations(tree: Any) -> list[str]:
    found = []
    for operation, argument in tree:
        found.append(str(operation))
        for part in argument if isinstance(argument, (tuple, list)) else (argument,):
            if isinstance(part, parser.SubPattern):
                found += operations(part)
            elif isinstance(part, list):
                found += [name for item in part if isinstance(item, parser.SubPattern) for name in operations(item)]
    return found


def test_no_sign_outside_of_ascii_stands_in_a_class() -> None:
    """RE2 reads bytes: of a sign of three bytes a class would match one."""
    assert not [text for row in ROWS for text in patterns(row) if re.search(r"\[[^\]]*[^\x00-\x7f][^\]]*\]", text)]


def test_every_pattern_has_letters_that_it_cannot_do_without() -> None:
    """One that had none would be searched in every line of every log."""
    assert COMPLAINTS.patterns.possible(b"0 1 2 3 . , : ; / - _ ( ) [ ] z zz qq jj xj", Work()) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_short_word_has_the_edge_of_a_word(row: Complaint) -> None:
    """Without it the end of an id, of a hash or of another word would be taken for the word: `...12cc not found`."""
    for text in (*row.patterns, *row.near, *row.unless):
        assert not open_words(text.replace(EDGE, r"\b")), text


def test_the_linter_of_edges_sees_what_it_is_for() -> None:
    assert open_words(r"(?:gcc|cc) not found") == {"gcc", "cc"}
    assert open_words(r"build[^\n]{0,80}(?:oom\b|failed)") == {"oom"}
    assert open_words(r"\bfa3[^\n]{0,60}requires") == {"fa3"}
    assert open_words(r"\bfa3\b[^\n]{0,60}requires|undefined symbol|lib(?:cc)?xx\.so|\[errno 2\]") == set()


def test_no_pattern_quotes_what_only_one_case_has() -> None:
    """A path, a version or a user's name of one thread in a pattern would answer that thread only."""
    for row in ROWS:
        for pattern in row.patterns:
            quoted = pattern.replace("\\.", ".").replace("\\+", "+").replace("\\-", "-")
            assert not re.search(r"/(?:home|users|root|opt|data|scratch|mnt)/\w", quoted), pattern
            versions = re.findall(r"(?<![\w.\\])\d+\.\d+\.\d+(?:[.\w+]*)", quoted)
            assert not versions, pattern


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("family = ", "familie = "), "family: is missing"),
        (("patterns = ['''nvidia driver", "patterns = ['''(nvidia driver"), "no regular expression of linear time"),
        (("patterns = ['''nvidia driver", "patterns = ['''nvidia (?!x)driver"), "no regular expression of linear time"),
        (("patterns = ['''nvidia driver", "patterns = ['''x*''', '''nvidia driver"), "matches the empty text"),
        (('confidence = "certain"', 'confidence = "sure"'), "no confidence"),
        (("(?P<cuda_number>", "(?P<number>"), "has no group cuda_number"),
    ],
)
def test_a_faulty_row_is_named(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    text = (Facts().folder / "complaints.toml").read_text(encoding="utf-8")
    row = text.index("[complaint.driver-too-old]")
    file = tmp_path / "complaints.toml"
    file.write_text(text[:row] + text[row:].replace(*change, 1), encoding="utf-8")
    with pytest.raises(BadFacts) as caught:
        load(file)
    assert any("complaint.driver-too-old" in fault and says in fault for fault in caught.value.evidence)
