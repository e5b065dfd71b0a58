"""Reports come from anybody: what is broken, hostile or lying is a row of its own and never hurts the others."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from reports import document, folder, merge, text

if TYPE_CHECKING:
    from pathlib import Path

from flash_doctor.errors import BadInput
from flash_doctor.facts import Facts
from flash_doctor.fleet.compare import compare
from flash_doctor.fleet.reading import MAX_DOCUMENT, read_document
from flash_doctor.fleet.sources import read_all, read_one
from flash_doctor.model.fleet import Lost, Node


def lines(*documents: str) -> list[Node | Lost]:
    return list(read_all(["-"], io.BytesIO("\n".join(documents).encode())))


def names(found: list[Node | Lost]) -> list[str]:
    return [one.name for one in found]


def test_a_folder_files_and_a_stream_are_read(tmp_path: Path) -> None:
    place = folder(tmp_path / "reports", [text("a"), text("b")])
    single = tmp_path / "c.json"
    single.write_text(text("c"))
    stream = io.BytesIO((text("d") + "\n" + text("e") + "\n").encode())
    found = list(read_all([str(place), str(single), "-"], stream))
    assert names(found) == ["a", "b", "c", "d", "e"]
    assert [one.source for one in found][-3:] == [str(single), "", ""]


def test_a_report_over_many_lines_is_one(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(document("a"), indent=2))
    assert names(list(read_all([str(file)], io.BytesIO()))) == ["a"]


def test_lines_as_pdsh_prints_them() -> None:
    found = lines("gpu1: " + text("other"), "gpu2: bash: flash-doctor: command not found", "gpu3: " + text("gpu3"))
    assert names(found) == ["gpu1", "gpu2", "gpu3"]
    assert isinstance(found[1], Lost)
    assert "command not found" in found[1].why


def test_a_line_that_pdsh_has_cut_is_told_as_such() -> None:
    whole = text("a", filler="x" * 200_000)
    (found,) = lines(f"gpu1: {whole[: 128 * 1024 - 1]}")
    assert isinstance(found, Lost)
    assert "pdsh cuts lines of 128 KiB" in found.why


def test_the_engines_name_stands_over_the_reports_own() -> None:
    found = read_document(text("liar", fleet={"node": "liar too"}), label="gpu7")
    assert found.name == "gpu7"
    assert read_document(text("host", fleet={"node": "gpu8"})).name == "gpu8"


def test_a_failed_check_and_an_unreachable_node_are_rows() -> None:
    failed = {"schema": "flash-doctor/error/1", "error": "no such interpreter", "evidence": [], "advice": ""}
    gone = {"schema": "flash-doctor/fleet-lost/1", "fleet": {"node": "gpu9"}, "why": "unreachable: it died"}
    one, two = lines("gpu1: " + json.dumps(failed), json.dumps(gone))
    assert (one.name, isinstance(one, Lost) and one.why) == ("gpu1", "its check ended with: no such interpreter")
    assert (two.name, isinstance(two, Lost) and two.why) == ("gpu9", "unreachable: it died")


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ("", "its report is empty"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "a JSON list"),
        ('{"schema": "flash-doctor/report/2"}', "flash-doctor/report/2"),
        ("{}", "names no schema"),
        ('{"schema": NaN}', "no JSON"),
        ("Segmentation fault", "it says 'Segmentation fault'"),
        ('{"schema": "flash-doctor/report/1", "environment": 3}', "$.environment: expected dict, found int"),
        ('{"x": ' + "9" * 5000 + "}", "no"),
    ],
)
def test_what_is_no_report_is_told_and_the_rest_is_read(tmp_path: Path, spoilt: str, words: str) -> None:
    place = folder(tmp_path, [text("a"), spoilt, text("b")])
    one, lost, other = read_all([str(place)], io.BytesIO())
    assert (one.name, other.name) == ("a", "b")
    assert lost.name == "file1"
    assert isinstance(lost, Lost)
    assert words in lost.why


def test_a_line_that_is_too_long_is_skipped_without_being_kept() -> None:
    found = lines(text("a"), '{"x": "' + "y" * (2 * MAX_DOCUMENT) + '"}', text("b"))
    assert [isinstance(one, Lost) for one in found] == [False, True, False]
    assert isinstance(found[1], Lost)
    assert found[1].why == "its report is longer than 8 MiB"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [path, *(leaf for key, inner in items for leaf in leaves(inner, (*path, key)))]


WHOLE = document("a", {"variables": {"NCCL_DEBUG": "INFO"}}, fleet={"node": "a", "clock": {"low": 0.0, "high": 1.0}})
# the packages' own fields are many and alike
PATHS = [
    path for path in leaves(WHOLE) if path and ("distributions" not in path or path[-1] in {"name", "raw_version"})
]
STRANGE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}), st.just([[1]]),
    st.just({"absent": 1}), st.just({"unknown": []}), st.just({"unknown": "\x1b[2J"}), st.just("9" * 5000),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PATHS), STRANGE)
def test_no_value_anywhere_breaks_the_comparison(path: tuple[Any, ...], value: object) -> None:
    spoilt = json.loads(json.dumps(WHOLE))
    place = spoilt
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        content = json.dumps(spoilt)
    except ValueError:
        return
    comparison = compare(lines(text("b"), content, text("c")), Facts().fleet)
    assert {"b", "c"} <= set(comparison.names)
    assert len(comparison.names) + sum(len(lost.nodes) for lost in comparison.lost) == 3


def test_the_fault_is_named_by_its_path() -> None:
    spoilt = document("a")
    spoilt["environment"]["gpus"]["devices"][1]["name"] = ["x"]
    found = read_document(json.dumps(spoilt))
    assert isinstance(found, Lost)
    assert "$.environment.gpus.devices[1].name: expected str, found list" in found.why


def test_packages_that_many_share_are_each_nodes_own() -> None:
    """The list is parsed once for equal ones; whatever stands around it, each node keeps its meaning."""
    one = document("a")
    other = merge(document("b"), {})
    other["environment"]["packages"]["distributions"] = [
        {**package, "raw_version": "2.99.0"} if package["name"].startswith("nvidia-nccl") else package
        for package in other["environment"]["packages"]["distributions"]
    ]
    tricky = document("c", target={"python": 'x"packages": {}, "torch": ', "why": "y"})
    shuffled = {**document("d"), "environment": dict(reversed(document("d")["environment"].items()))}
    decoy = {"decoy": {"packages": {"distributions": []}, "torch": 1}, **document("e")}
    found = lines(*(json.dumps(each) for each in (one, other, one, tricky, shuffled, decoy)))
    assert [one.values["nccl"] for one in found if isinstance(one, Node)] == [
        "2.27.3", "2.99.0", "2.27.3", "2.27.3", "2.27.3", "2.27.3",
    ]  # fmt: skip


def test_a_text_without_an_end_is_cut() -> None:
    found = read_document(text("a", {"host": {"kernel": "k" * 100_000}}))
    assert isinstance(found, Node)
    assert len(str(found.values["kernel"])) == 200


def test_too_many_variables_are_refused() -> None:
    found = read_document(text("a", {"variables": {f"NCCL_{n}": "1" for n in range(300)}}))
    assert isinstance(found, Lost)


def test_a_missing_place_and_an_empty_folder_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        list(read_all([str(tmp_path / "gone")], io.BytesIO()))
    with pytest.raises(BadInput, match="holds no report"):
        list(read_all([str(tmp_path)], io.BytesIO()))


def test_a_good_node_must_be_a_report(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(text("good"))
    assert read_one(tmp_path / "good.json").name == "good"
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(BadInput, match="names no schema"):
        read_one(tmp_path / "bad.json")
