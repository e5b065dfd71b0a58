"""The shipped wheels as loaded, and every way in which a file of the matrix can be wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.errors import BadFacts
from flash_doctor.model.wheel import Evidence, HashState
from flash_doctor.resolve import load_wheels
from flash_doctor.resolve.sources.lint import lint
from flash_doctor.resolve.sources.matrix import COLUMNS
from seats import facts, wheels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Book = dict[str, Any]

SOMEBODY = replace(facts().publishers.rows["mjun0812"], name="somebody")
PUBLISHERS = replace(facts().publishers, rows={**facts().publishers.rows, "somebody": SOMEBODY})


def book() -> Book:
    row = ["flash_attn", "2.8.3", "cu12torch2.8cxx11abiTRUE", "v2.8.3", "12", "2.8", "2.8.0", True, "8.0 9.0"]
    return {
        "publisher": "somebody",
        "url": "https://example.org/{release}/{file}",
        "hash": "first-seen",
        "sources": [{"source": "a list", "date": "2026-11-20"}],
        "requires": {"flash_attn": ["torch", "einops"]},
        "faults": [],
        "columns": COLUMNS,
        "families": [[*row, "linux_x86_64", "listed", 0, "cp310 cp311 cp313t"]],
        "sha256": {"v2.8.3/flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl": "ab" * 32},
        "size": {},
    }


def write(folder: Path, data: object) -> Path:
    (folder / "somebody.json").write_text(json.dumps(data))
    return folder


def knows(cuda: object) -> bool:
    return str(cuda).startswith("12")


def test_a_row_becomes_one_wheel_per_python(tmp_path: Path) -> None:
    loaded = list(load_wheels(write(tmp_path, book()), publishers=PUBLISHERS, knows_cuda=knows))
    assert [(wheel.python, wheel.abi) for wheel in loaded] == [
        ("cp310", "cp310"),
        ("cp311", "cp311"),
        ("cp313", "cp313t"),
    ]
    name = "flash_attn-2.8.3%2Bcu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl"
    assert loaded[1].url == f"https://example.org/v2.8.3/{name}"
    assert loaded[1].hash_state is HashState.PINNED
    assert loaded[0].hash_state is HashState.FIRST_SEEN
    assert loaded[0].family.source == "a list"


def row(column: str, value: object) -> Callable[[Book], None]:
    def change(data: Book) -> None:
        data["families"][0][COLUMNS.index(column)] = value

    return change


def key(name: str, value: object) -> Callable[[Book], None]:
    return lambda data: data.update({name: value})


def fault(**parts: object) -> Callable[[Book], None]:
    whole = {"id": "x", "where": {}, "effect": {}, "summary": "s", "source": "s", "date": "2026-11-20"} | parts
    return key("faults", [whole])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (row("version", "two"), "row 0, families: InvalidVersion"),
        (row("cuda", "14.0"), "row 0, cuda: no driver is known for CUDA 14.0"),
        (row("platform", "solaris_sparc"), "solaris_sparc is no platform"),
        (row("code", "8.0 fast"), "fast is no GPU architecture"),
        (row("evidence", "rumour"), "'rumour' is not a valid Evidence"),
        (row("source", 7), "row 0, families: IndexError"),
        (row("pythons", "cp311 snake"), "row 0, pythons: snake is no Python tag"),
        (row("dist", "flash_attn_9"), "KeyError"),
        (row("torch", 2.8), "row 0, families"),
        (lambda data: data["families"][0].pop(), "row 0, families: 12 values for 13 columns"),
        (key("columns", ["dist"]), "row 0, columns: expected"),
        (key("sha256", {"v2.8.3/flash_attn-9.whl": "ab" * 32}), "row v2.8.3/flash_attn-9.whl, sha256: no such wheel"),
        (key("sha256", {"v2.8.3/x": "ABCD"}), "row v2.8.3/x, sha256: a sha256 is 64"),
        (fault(where={"release": ["v9"]}), "row x, faults.where: fits no row"),
        (fault(where={"colour": ["red"]}), "row faults[0], colour: unknown key"),
        (fault(effect={"speed": 1}), "row faults[0], speed: unknown key"),
        (lambda data: data.pop("publisher"), "row 0, publisher: missing"),
        (key("publisher", "nobody"), "row 0, publisher: 'nobody' is not in publishers.toml"),
        (key("publisher", "lesj0610"), "row 0, publisher: 'lesj0610' has no rank in publishers.toml"),
        (key("publisher", ["x"]), "row 0, publisher"),
    ],
)
def test_an_error_says_file_row_and_key(tmp_path: Path, change: Callable[[Book], None], told: str) -> None:
    data = book()
    change(data)
    with pytest.raises(BadFacts, match=re.escape(told)) as caught:
        load_wheels(write(tmp_path, data), publishers=PUBLISHERS, knows_cuda=knows)
    assert "somebody.json" in str(caught.value)


def test_text_that_is_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "somebody.json").write_text("{")
    with pytest.raises(BadFacts, match="not readable as JSON"):
        load_wheels(tmp_path, publishers=PUBLISHERS)


def test_the_overlay_replaces_a_publisher(tmp_path: Path) -> None:
    data = book()
    data["publisher"] = "mjun0812"
    (tmp_path / "mjun0812.json").write_text(json.dumps(data))
    loaded = load_wheels(facts().folder / "wheels", tmp_path, publishers=PUBLISHERS)
    assert sum(wheel.family.publisher == "mjun0812" for wheel in loaded) == 3
    assert {origin.file.parent for origin in loaded.origins} == {facts().folder / "wheels", tmp_path}


def test_the_shipped_matrix_is_whole_and_its_names_parse() -> None:
    def known(cuda: object) -> bool:
        return "." not in str(cuda) or facts().drivers.knows(cuda)  # type: ignore[arg-type]

    loaded = load_wheels(facts().folder / "wheels", publishers=facts().publishers, knows_cuda=known)
    assert lint(loaded, facts()) == ()
    counts = {
        name: sum(wheel.family.publisher == name for wheel in loaded) for name in ("dao-ailab", "mjun0812", "astral")
    }
    assert counts == {"dao-ailab": 3894, "mjun0812": 3720, "astral": 205}
    assert sum(wheel.sha256 is not None for wheel in loaded) == 99
    assert sum(wheel.family.evidence is Evidence.ABSENT for wheel in loaded) == 1014


def test_known_faults_are_facts() -> None:
    """The names that lie, the development builds, the glibc of official wheels, torch's stable interface."""
    by_fault = {
        name: [wheel for wheel in wheels() if any(one.id == name for one in wheel.family.faults)]
        for name in ("mislabelled-abi", "development-torch", "glibc-2.32", "stable-abi")
    }
    assert [len(found) for found in by_fault.values()] == [80, 588, 2787, 102]
    assert all(wheel.family.cxx11abi and "FALSE" in wheel.filename for wheel in by_fault["mislabelled-abi"])
    assert all(".dev" in wheel.family.built for wheel in by_fault["development-torch"])
    assert all(str(wheel.family.glibc) == "2.32" for wheel in by_fault["glibc-2.32"])
    assert all(wheel.name == "flash-attn-3" and wheel.family.newer_torch for wheel in by_fault["stable-abi"])


def test_gpu_code_agrees_with_the_facts_about_publishers() -> None:
    """gpus.toml says the same in general: two tables that are kept by hand must not contradict."""
    compared = 0
    for wheel in wheels():
        family = wheel.family
        if family.dist != "flash-attn" or family.cuda is None or family.evidence is Evidence.ABSENT:
            continue
        general = facts().gpus.flash_sass(family.publisher, family.version, family.cuda)
        if general is not None and len(family.cuda.release) > 1 and family.publisher == "mjun0812":
            assert {code.capability for code in family.code} == set(general), wheel.filename
            compared += 1
    assert compared > 1000
