"""A comparison as text, as a document and as metrics, whatever the nodes are called."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from reports import OLD_FLASH, OLD_TORCH, finding, text

from flash_doctor.facts import Facts
from flash_doctor.fleet.compare import compare
from flash_doctor.fleet.reading import read_document
from flash_doctor.model.fleet import Ailment, Comparison, Lost, Node
from flash_doctor.render.console import to_text
from flash_doctor.render.document import to_json
from flash_doctor.render.fleet import fleet_document, fleet_lines
from flash_doctor.render.prometheus import metrics
from shipped import validator

POLICY = Facts().fleet
EVIL = '\x1b[2J\x1b]0;owned\x07\u202enode\n# HELP x"\\'


def small() -> Comparison:
    documents = [text(f"gpu{n:03d}") for n in range(1, 5)]
    documents += [text("gpu005", OLD_TORCH), text("gpu006", OLD_FLASH, findings=[finding("F001", plannable=True)])]
    return compare([*map(read_document, documents), Lost(name="gpu007", why="unreachable: no route to host")], POLICY)


def chaos(count: int) -> Comparison:
    """Every node differs from every other in every aspect, is sick in its own way, or is lost for its own reason."""
    one = read_document(text("x"))
    assert isinstance(one, Node)
    nodes: list[Node | Lost] = []
    for number in range(count):
        values: dict[str, Any] = {key: f"{EVIL}{key} {number} {'v' * 200}" for key in one.values}
        values |= {f"NCCL_{EVIL}{number}": "1", "NCCL_X": f"{number}"}
        ailment = Ailment(code=f"F{number}", subject=EVIL, summary=EVIL * 5, plannable=True)
        nodes.append(replace(one, name=f"{EVIL}{number}x{'n' * 90}", values=values, ailments=(ailment,)))
        nodes.append(Lost(name=f"lost{number * 2}", why=f"{number} {EVIL * 9}"))
    return compare(nodes, POLICY)


def test_the_text_for_a_few_nodes() -> None:
    shown = to_text(fleet_lines(small()), None, width=100)
    assert shown.startswith("7 nodes: BROKEN: ")
    for part in (
        "gpu005: torch 2.7.1, usual is 2.8.0",
        "gpu006: flash-attn flash-attn 2 2.6.3, usual is flash-attn 2 2.8.3",
        "gpu007: unreachable: no route to host",
        "gpu006: F001 F001 is wrong.",
        "torch                   2.8.0  (5 of 6)",
        "      /opt/train/bin/python -m pip install torch==2.8.0",
    ):
        assert part in shown


def test_four_nodes_that_are_alike_need_few_lines() -> None:
    shown = to_text(fleet_lines(compare(map(read_document, map(text, "abcd")), POLICY)), None, width=80)
    assert "4 nodes: Alike: nothing that matters to a joint run differs." in shown
    assert "Breaks" not in shown


@pytest.mark.parametrize("width", [80, 120])
def test_ten_thousand_nodes_take_less_than_sixty_lines(width: int) -> None:
    one = read_document(text("x"))
    assert isinstance(one, Node)
    torch = read_document(text("x", {**OLD_TORCH, **OLD_FLASH, "variables": {"NCCL_ALGO": "Ring"}}))
    assert isinstance(torch, Node)
    fleet = [replace(torch if n % 50 == 7 else one, name=f"gpu{n:05d}") for n in range(10_000)]
    shown = to_text(fleet_lines(compare(fleet, POLICY)), None, width=width)
    assert shown.count("\n") < 60


def test_even_chaos_is_bounded_and_moves_no_cursor() -> None:
    shown = to_text(fleet_lines(chaos(300)), None, width=120)
    assert shown.count("\n") < 130
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}


def test_the_document_is_valid_by_the_shipped_schema() -> None:
    for comparison in (small(), chaos(20), compare([], POLICY)):
        validator("fleet").validate(json.loads(to_json(fleet_document(comparison, 1))))


def test_metrics_are_what_the_collector_reads() -> None:
    families = {family.name: family for family in text_string_to_metric_families(metrics(small(), 1_800_000_000.5))}
    values = {
        (name, *sorted(sample.labels.items())): sample.value
        for name, family in families.items()
        for sample in family.samples
    }
    prefix = "flash_doctor_fleet_"
    assert values[f"{prefix}nodes",] == 7
    assert values[f"{prefix}node_up", ("node", "gpu007")] == 0
    assert values[f"{prefix}node_up", ("node", "gpu001")] == 1
    assert values[f"{prefix}node_errors", ("node", "gpu006")] == 1
    assert values[f"{prefix}node_differences", ("effect", "breaks"), ("node", "gpu005")] == 1
    assert values[f"{prefix}difference_nodes", ("aspect", "torch"), ("effect", "breaks")] == 1
    assert values[f"{prefix}verdict", ("verdict", "broken")] == 1
    assert values[f"{prefix}check_timestamp_seconds",] == 1_800_000_000


def test_metrics_of_hostile_names_are_still_metrics() -> None:
    written = metrics(chaos(20), 0.0)
    seen = set()
    for family in text_string_to_metric_families(written):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in seen
            seen.add(key)
    assert "\x1b" not in written
    assert all(line.startswith(("flash_doctor_fleet_", "# ")) for line in written.splitlines())


def test_two_names_that_are_spelt_alike_are_told_once() -> None:
    one = read_document(text("x"))
    assert isinstance(one, Node)
    comparison = compare([replace(one, name="a\x1b"), replace(one, name="a\\x1b")], POLICY)
    samples = [line for line in metrics(comparison, 0.0).splitlines() if line.startswith("flash_doctor_fleet_node_up{")]
    assert len(samples) == 1
