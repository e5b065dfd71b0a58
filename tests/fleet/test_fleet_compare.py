"""Comparing nodes: the majority, the odd ones out, what each difference does, and what to type where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from reports import OLD_FLASH, OLD_TORCH, document, finding, text

from flash_doctor.facts import Facts
from flash_doctor.facts.fleet import Degree
from flash_doctor.fleet.aspects import degree
from flash_doctor.fleet.compare import compare
from flash_doctor.fleet.reading import read_document
from flash_doctor.model.fleet import Comparison, Difference, Effect, FleetVerdict, Lost, Node
from flash_doctor.render.fleet import fold

POLICY = Facts().fleet


def compared(*documents: str, against: str = "") -> Comparison:
    good = read_document(against) if against else None
    assert not isinstance(good, Lost)
    return compare(map(read_document, documents), POLICY, good)


def fleet(**odd: dict[str, Any]) -> Comparison:
    """Four nodes alike, and these."""
    return compared(*(text(f"n{i}") for i in range(4)), *(text(name, differs) for name, differs in odd.items()))


def only(comparison: Comparison, aspect: str) -> Difference:
    (found,) = [difference for difference in comparison.differences if difference.aspect == aspect]
    return found


def test_nodes_that_are_alike_are_healthy() -> None:
    comparison = fleet()
    assert comparison.verdict is FleetVerdict.HEALTHY
    assert not comparison.differences
    assert not comparison.odd
    assert not comparison.lost
    assert not comparison.plans
    values = {usual.aspect: usual.value for usual in comparison.usual}
    assert values["gpu"] == "NVIDIA H100 80GB HBM3"
    assert values["gpu_count"] == "2"
    assert values["driver"] == "580.65.06"
    assert values["torch"] == "2.8.0"
    assert values["cuda"] == "12.8"
    assert values["abi"] == "C++11"
    assert values["nccl"] == "2.27.3"
    assert values["flash"] == "flash-attn 2 2.8.3"
    assert values["flash_build"].startswith("flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE")
    assert values["libc"] == "glibc 2.39"


CASES: list[tuple[str, dict[str, Any], str, Effect]] = [
    ("torch", OLD_TORCH, "2.7.1", Effect.BREAKS),
    ("cuda", {"torch": {"cuda": "12.6"}}, "12.6", Effect.SLOWS),
    ("cuda", {"torch": {"cuda": "13.0"}}, "13.0", Effect.BREAKS),
    ("cuda", {"torch": {"cuda": {"absent": "a CPU build"}}}, "none", Effect.BREAKS),
    ("abi", {"torch": {"cxx11abi": False}}, "before C++11", Effect.BREAKS),
    ("torch", {"torch": {"absent": "not installed"}}, "none", Effect.BREAKS),
    ("torch_commit", {"torch": {"git": "f" * 40}}, "f" * 12, Effect.HARMLESS),
    ("flash", OLD_FLASH, "flash-attn 2 2.6.3", Effect.BREAKS),
    (
        "flash",
        {"flash": {"modules": [{"kind": "flash-attn 2", "version": "2.8.2"}]}},
        "flash-attn 2 2.8.2",
        Effect.SLOWS,
    ),
    (
        "flash",
        {"flash": {"modules": [{"kind": "flash-attn 3", "version": "2.8.3"}]}},
        "flash-attn 3 2.8.3",
        Effect.BREAKS,
    ),
    ("flash", {"flash": {"modules": []}}, "none", Effect.BREAKS),
    ("driver", {"driver": {"module": "580.95.5"}}, "580.95.05", Effect.HARMLESS),
    ("driver", {"driver": {"module": "570.86.10"}}, "570.86.10", Effect.SLOWS),
    ("python", {"python": {"version": "3.12.4"}}, "3.12.4", Effect.HARMLESS),
    ("python", {"python": {"version": "3.11.9"}}, "3.11.9", Effect.BREAKS),
    ("kernel", {"host": {"kernel": "6.1.0"}}, "6.1.0", Effect.HARMLESS),
    ("libc", {"host": {"libc": {"version": "2.35"}}}, "glibc 2.35", Effect.HARMLESS),
    ("machine", {"host": {"machine": "aarch64"}}, "aarch64", Effect.BREAKS),
    ("NCCL_PROTO", {"variables": {"NCCL_PROTO": "LL"}}, "LL", Effect.BREAKS),
    ("NCCL_IB_HCA", {"variables": {"NCCL_IB_HCA": "mlx5_0"}}, "mlx5_0", Effect.HARMLESS),
    ("NCCL_IB_TIMEOUT", {"variables": {"NCCL_IB_TIMEOUT": "22"}}, "22", Effect.SLOWS),
]


@pytest.mark.parametrize(("aspect", "differs", "value", "effect"), CASES)
def test_each_difference_has_its_effect_and_its_nodes(
    aspect: str, differs: dict[str, Any], value: str, effect: Effect
) -> None:
    found = only(fleet(odd1=differs, odd2=differs), aspect)
    assert (found.value, found.effect, found.nodes) == (value, effect, ("odd1", "odd2"))
    assert found.why
    assert "(read 20" in found.source


def gpus(*names: str) -> dict[str, Any]:
    one = document("x")["environment"]["gpus"]["devices"][0]
    return {"gpus": {"devices": [{**one, "name": name} for name in names]}}


def test_gpus_are_compared_by_model_and_count() -> None:
    comparison = fleet(a=gpus("NVIDIA H200", "NVIDIA H200"), b=gpus("NVIDIA H100 80GB HBM3"))
    assert only(comparison, "gpu").effect is Effect.SLOWS
    assert only(comparison, "gpu").nodes == ("a",)
    assert only(comparison, "gpu_count").effect is Effect.BREAKS
    assert only(comparison, "gpu_count").nodes == ("b",)


def test_a_node_with_several_differences_is_one_group_with_its_commands() -> None:
    comparison = fleet(a={**OLD_TORCH, **OLD_FLASH}, b=OLD_FLASH, c=OLD_FLASH)
    groups = {odd.nodes: odd for odd in comparison.odd}
    assert set(groups) == {("a",), ("b", "c")}
    assert groups["a",].differences == ("torch", "flash-attn", "CUDA of torch")
    assert groups["a",].commands == (
        "/opt/train/bin/python -m pip install torch==2.8.0",
        "flash-doctor fix --python /opt/train/bin/python",
    )


def test_a_plan_is_shared_by_nodes_that_are_alike_but_not_by_those_with_the_wrong_torch() -> None:
    comparison = fleet(a={**OLD_TORCH, **OLD_FLASH}, b=OLD_FLASH, c=OLD_FLASH)
    (plan,) = comparison.plans
    assert plan.nodes == ("b", "c")
    assert plan.commands[0] == "flash-doctor plan --for b.json --json > plan-1.json"
    assert plan.commands[1] == "flash-doctor bundle bundle-1 --plan plan-1.json --for b.json"


def test_an_error_that_all_nodes_have_is_told_although_nothing_differs() -> None:
    comparison = compared(*(text(f"n{i}", findings=[finding("F001", plannable=True)]) for i in range(3)))
    assert comparison.verdict is FleetVerdict.BROKEN
    (sick,) = comparison.sick
    assert (sick.code, sick.nodes) == ("F001", ("n0", "n1", "n2"))
    assert sick.commands == ("flash-doctor fix --python /opt/train/bin/python",)
    assert comparison.plans[0].nodes == ("n0", "n1", "n2")


def test_unknown_is_neither_equal_nor_different() -> None:
    comparison = fleet(a={"gpus": {"unknown": "NVML did not answer"}})
    assert not comparison.differences
    told = {(each.aspect, each.why, each.nodes) for each in comparison.not_known}
    assert ("gpu", "NVML did not answer", ("a",)) in told


def test_against_a_good_node_the_majority_may_be_wrong() -> None:
    comparison = compared(text("a", OLD_TORCH), text("b", OLD_TORCH), text("c"), against=text("good"))
    assert comparison.against == "good"
    assert only(comparison, "torch").nodes == ("a", "b")
    assert only(comparison, "torch").usual == "2.8.0"


def test_a_tie_has_no_majority() -> None:
    comparison = compared(text("a", OLD_TORCH), text("b"))
    (torch,) = [usual for usual in comparison.usual if usual.aspect == "torch"]
    assert not torch.majority


def test_a_clock_is_off_only_as_far_as_it_is_certain() -> None:
    def clock(low: float, high: float) -> dict[str, Any]:
        return {"fleet": {"clock": {"low": low, "high": high}}}

    comparison = compared(
        text("a", **clock(-0.1, 0.2)),
        text("b", **clock(-0.1, 30.0)),  # a slow answer is no wrong clock
        text("c", **clock(4.0, 4.3)),
        text("d", **clock(-400.0, -399.0)),
        text("e", **clock(-0.2, 0.2)),
    )
    told = {difference.nodes: difference for difference in comparison.differences}
    assert set(told) == {("c",), ("d",)}
    assert told["c",].effect is Effect.HARMLESS
    assert told["d",].effect is Effect.BREAKS
    assert "behind" in told["d",].value


def test_the_asking_machines_own_clock_accuses_nobody() -> None:
    documents = [text(f"n{i}", fleet={"clock": {"low": 900.0, "high": 900.2}}) for i in range(3)]
    assert not compared(*documents).differences


def test_a_measure_that_is_uncertain_itself_accuses_nobody() -> None:
    slow = [text(f"n{i}", fleet={"clock": {"low": 0.0, "high": 60.0}}) for i in range(3)]
    assert not compared(*slow, text("quick", fleet={"clock": {"low": 30.0, "high": 30.1}})).differences


def test_two_reports_of_one_name_are_two_rows() -> None:
    comparison = compared(text("a"), text("a", OLD_TORCH), text("b"))
    assert comparison.names == ("a", "a#2", "b")
    assert only(comparison, "torch").nodes == ("a#2",)


def test_commands_quote_what_a_report_says() -> None:
    evil = "/tmp/$(touch x); rm -rf ~"
    comparison = compared(text("a"), text("b"), text("c"), text("d", OLD_FLASH, target={"python": evil, "why": "x"}))
    (odd,) = comparison.odd
    assert odd.commands == (f"flash-doctor fix --python '{evil}'",)


def test_nothing_read_is_unknown() -> None:
    assert compare([Lost(name="a", why="gone")], POLICY).verdict is FleetVerdict.UNKNOWN
    assert compare([], POLICY).verdict is FleetVerdict.UNKNOWN


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("2.8.0", "3.0", Degree.MAJOR),
        ("2.8.0", "2.7.0", Degree.MINOR),
        ("2.8", "2.8.1", Degree.MICRO),
        ("2.8.3", "2.8.3.post1", Degree.ANY),
        ("glibc 2.39", "glibc 2.35", Degree.MINOR),
        ("glibc 2.39", "musl 2.39", Degree.MAJOR),
        ("eth0", "eth1", Degree.ANY),
        ("1.0", None, Degree.MISSING),
    ],
)
def test_degree(one: str, other: str | None, wanted: Degree) -> None:
    assert degree(one, other) is wanted


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([f"gpu{n:03d}" for n in range(1, 129)], ("gpu[001-128]",)),
        (["gpu1", "gpu2", "gpu3", "gpu10"], ("gpu[1-3,10]",)),
        (["gpu09", "gpu10", "gpu11"], ("gpu[09-11]",)),
        (["gpu9", "gpu09"], ("gpu09", "gpu9")),
        (["a1.example", "a2.example", "login"], ("a[1-2].example", "login")),
        (["gpu007"], ("gpu007",)),
        ([], ()),
    ],
)
def test_names_fold_into_ranges(names: list[str], wanted: tuple[str, ...]) -> None:
    assert fold(names) == wanted


def unfold(text: str) -> list[str]:
    if "[" not in text:
        return [text]
    before, _, rest = text.partition("[")
    ranges, _, after = rest.partition("]")
    found = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        found += [f"{before}{n:0{len(first)}d}{after}" for n in range(int(first), int(last or first) + 1)]
    return found


@given(st.sets(st.from_regex(r"[a-c]{0,2}[0-9]{0,4}(\.x)?", fullmatch=True), max_size=40))
def test_folding_loses_and_invents_no_name(names: set[str]) -> None:
    assert sorted(name for part in fold(names) for name in unfold(part)) == sorted(names)


def test_the_policy_speaks_of_every_aspect_that_is_read() -> None:
    node = read_document(json.dumps(document("a")))
    assert isinstance(node, Node)
    assert set(node.values) <= set(POLICY.aspects) | {name for name in node.values if "NCCL_" in name}
