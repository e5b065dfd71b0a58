"""The table of what explains what: its codes exist, it runs in no circle, and each of its rows does what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ward import HEALTHY, merge, patient

from claimed import decoded
from flash_doctor.diagnose import diagnose
from flash_doctor.diagnose.registry import CHECKS
from flash_doctor.facts import Facts
from flash_doctor.model import Because, Environment, Family, Severity, Unchecked
from flash_doctor.preflight.registry import RULES
from flash_doctor.rules.engine import Found, Observed, Result, Rule, tell
from flash_doctor.rules.explains import TABLE, By, Causes, Then, row
from flash_doctor.system.codec import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.model import Report

CHECKS.load()
RULES.load()
FACTS = Facts()
SEVERITY = {severity.value: severity for severity in Severity}


def observed(code: str, subject: str = "it", *about: str, severity: Severity = Severity.ERROR) -> Observed:
    return tell(code, Found(subject=subject, summary="x", severity=severity, about=about))


def left(table: Causes, *each: Observed) -> list[tuple[str, tuple[Because, ...]]]:
    return [(one.finding.code, one.finding.because_of) for one in table.explained(each)]


def test_every_code_of_the_table_is_told_somewhere() -> None:
    codes = {*CHECKS, *RULES, *FACTS.watch.rules}
    assert {code for each in TABLE.rows for code in each.causes | each.effects} <= codes


def test_the_table_runs_in_no_circle() -> None:
    for each in TABLE.rows:
        for effect in each.effects:
            causes = {cause for one in TABLE.on(effect) for cause in one.causes}
            assert effect not in TABLE.behind(causes), effect


@pytest.mark.parametrize(
    ("by", "cause", "effect", "holds"),
    [
        (By.SUBJECT, observed("A", "torch"), observed("B", "torch"), True),
        (By.SUBJECT, observed("A", "torch", "x"), observed("B", "flash-attn", "x"), False),
        (By.ABOUT, observed("A", "torch", "x", "y"), observed("B", "flash-attn", "y"), True),
        (By.ABOUT, observed("A", "torch"), observed("B", "torch"), False),
        (By.NAMED, observed("A", "PYTHONPATH", "torch"), observed("B", "torch"), True),
        (By.NAMED, observed("A", "torch"), observed("B", "torch"), False),
        (By.ANY, observed("A"), observed("B", "other"), True),
    ],
)
def test_what_the_two_must_have_in_common(by: By, cause: Observed, effect: Observed, holds: bool) -> None:
    table = Causes((row("A", "B", by),))
    assert left(table, effect, cause) == [("A", ())] if holds else len(left(table, effect, cause)) == 2


def test_a_finding_is_folded_or_told_with_its_causes() -> None:
    table = Causes((row("A", "B"), row("A C", "D", then=Then.SHOWN)))
    told = left(table, *map(observed, "ABCD"))
    because = (Because(code="A", subject="it"), Because(code="C", subject="it"))
    assert told == [("A", ()), ("C", ()), ("D", because)]


def test_of_a_chain_the_first_cause_is_left() -> None:
    assert left(Causes((row("A", "B"), row("B", "C"))), *map(observed, "CBA")) == [("A", ())]


def test_a_cause_counts_from_its_least_severity_on() -> None:
    table = Causes((row("A", "B", least=Severity.WARNING),))
    assert [len(left(table, observed("A", severity=each), observed("B"))) for each in Severity] == [1, 1, 2]


def concluded(table: Causes, *results: Result[Rule]) -> list[tuple[int, Unchecked | None]]:
    return [(len(result.told), result.unchecked) for result in table.concluded(results)]


def result(code: str, told: Iterable[Observed] = (), *, applies: bool = True, why: str = "") -> Result[Rule]:
    unchecked = Unchecked(code=code, why=why) if why else None
    return Result(rule=Rule(code=code, function=lambda: ()), applies=applies, told=tuple(told), unchecked=unchecked)


def test_a_rule_that_could_only_guess_is_left_open() -> None:
    table = Causes((row("A", "B C D E", By.ANY, Then.OPEN, why="not settled"), row("B", "F", By.ANY)))
    results = (
        result("A", [observed("A")]),
        result("B", [observed("B")]),
        result("C"),
        result("D", applies=False),
        result("E", why="no answer"),
        result("F", [observed("F")]),
    )
    assert concluded(table, *results) == [
        (1, None),
        (0, Unchecked(code="B", why="not settled")),
        (0, Unchecked(code="C", why="not settled")),
        (0, None),
        (0, Unchecked(code="E", why="no answer")),
        (1, None),  # what is open explains nothing
    ]
    assert concluded(table, *results[1:2]) == [(1, None)]


def examine(patch: dict[str, Any], base: str = HEALTHY, *, only: tuple[Family, ...] = ()) -> Report:
    recorded = patient(base)
    environment = decoded(Environment, merge(encode(recorded.environment), patch))
    return diagnose(recorded.target, environment, FACTS, only=only)


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def packages(base: str, name: str, **change: Any) -> list[dict[str, Any]]:
    """The distributions of a machine, the ones of that name changed."""
    there: list[dict[str, Any]] = encode(patient(base).environment)["packages"]["distributions"]
    return [{**each, **change} if each["name"] == name else each for each in there]


def owned(base: str, owner: str) -> list[dict[str, Any]]:
    """The compiled files of a machine as if that distribution had brought them."""
    return [{**each, "owner": owner} for each in encode(patient(base).environment)["extensions"]]


@pytest.mark.parametrize(
    ("companion", "machine"),
    [
        ("torchvision", "torchvision-out-of-step"),
        ("xformers", "xformers-for-torch-2.7"),
        ("torchao", "torchao-for-another-torch"),
        ("torchaudio", "torchaudio-unpinned"),
    ],
)
@pytest.mark.parametrize("files", ["flash-built-for-newer-torch", "flash-of-cuda-13"])
def test_a_companion_s_own_rule_says_it_all(companion: str, machine: str, files: str) -> None:
    told = examine({"extensions": owned(files, companion)}, machine)
    assert {"C702", "C703", "C704", "C706"} & codes(told)
    assert not {"X101", "X103"} & codes(told)
    assert {"X101", "X103"} & codes(examine({"extensions": owned(files, "peft")}, machine))
    alone = examine({"extensions": owned(files, companion)}, machine, only=(Family.EXTENSIONS,))
    assert codes(alone) == set(), "the same is silent where the cause is left out"


def test_a_file_s_proof_stands_in_place_of_what_its_name_says() -> None:
    base = "flash-built-for-newer-torch"
    flash = encode(patient(base).environment)["flash"]
    asks = [{**each, "requires": [*each["requires"], "torch==2.4.0"]} for each in flash["packages"]]
    assert codes(examine({"flash": {"packages": asks}}, base)) == codes(examine({}, base)) == {"X101"}
    unread = examine({"flash": {"packages": asks}, "extensions": []}, base)
    assert "F611" in codes(unread)


def test_what_torch_lacks_is_told_once() -> None:
    """The libraries of CUDA that nothing here brings, though torch asks for them."""
    base = "flash-of-cuda-13"
    assert "X103" in codes(examine({}, base))
    asks = packages(base, "torch", requires=["nvidia-cuda-runtime==13.0.1"])
    assert codes(examine({"packages": {"distributions": asks}}, base)) == {"T510"}


def test_under_a_cpu_build_the_wrong_torch_is_told_where_there_is_a_gpu() -> None:
    base = "cuda-extension-under-cpu-torch"
    gpus = encode(patient(HEALTHY).environment)["gpus"]
    assert "X103" in codes(examine({}, base))
    told = codes(examine({"gpus": gpus}, base))
    assert "T502" in told
    assert "X103" not in told


def test_a_changed_file_is_damaged_once() -> None:
    base = "flash-built-for-newer-torch"
    extension = next(each for each in encode(patient(base).environment)["extensions"] if each["owner"] == "flash-attn")
    broken = [{**extension, "file": {"unknown": "file too short"}}]
    assert "X107" in codes(examine({"extensions": broken}, base))
    environment = patient(base).environment
    flash = encode(environment)["flash"]
    (package, *_) = flash["packages"]
    name = extension["path"].removeprefix(package["location"] + "/")
    record = {"files": 9, "missing": [], "changed": [name], "hashed": False}
    told = codes(examine({"extensions": broken, "flash": {"packages": [{**package, "record": record}]}}, base))
    assert "F608" in told
    assert "X107" not in told


@pytest.mark.parametrize(("code", "cause"), [("T506", "PYTHONPATH"), ("F607", "PYTHONPATH"), ("F607", "user site")])
def test_who_brought_the_second_copy_stands_beside_it(code: str, cause: str) -> None:
    name = "torch" if code == "T506" else "flash-attn"
    environment = patient(HEALTHY).environment
    (there,) = [each for each in encode(environment)["packages"]["distributions"] if each["name"] == name]
    changed = {"location": "/outside"} if cause == "PYTHONPATH" else {"in_user_site": True, "location": "/home/.local"}
    copy = {**there, **changed, "raw_version": "1.0", "version": "1.0"}
    distributions = [*encode(environment)["packages"]["distributions"], copy]
    patch: dict[str, Any] = {"packages": {"distributions": distributions}, "python": {"pythonpath": ["/outside"]}}
    if code == "F607":
        patch["flash"] = {"packages": [there, copy]}
    (finding,) = examine(patch).of(code)
    assert [because.subject for because in finding.because_of] == [cause]


def test_because_of_is_a_key_that_a_report_may_lack() -> None:
    (finding, *_) = diagnose(patient("flash-twice").target, patient("flash-twice").environment, FACTS).of("F607")
    assert finding.because_of == (Because(code="P405", subject="user site"),)
    document = encode(finding)
    assert decoded(type(finding), document) == finding
    del document["because_of"]
    assert decoded(type(finding), document) == replace(finding, because_of=())
