"""Bounds that hold while strangers' texts are read; what is beyond them is a ValueError and never anything else."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from flash_doctor.system.bounds import count_of, csv_rows, read_json, read_toml, record_rows, tags_of, wheel_name
from memory import peak_of

if TYPE_CHECKING:
    from pathlib import Path


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + "1" + closing * depth


def read(source: bytes | str | Path, **bounds: Any) -> Any:
    return read_json(source, **bounds).unproved()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (nested(65), "deep"),
        (nested(65, '{"a":', "}"), "deep"),
        (nested(32, '[{"a":', "}]") + "  ", None),
        (nested(33, '[{"a":', "}]"), "deep"),
        (nested(100_000), "deep"),
        (nested(100_000, '{"a":', "}"), "deep"),
        ("[" * 100_000, "deep"),
        ("9" * 41, "41 digits"),
        ("-" + "9" * 5000, "digits"),
        ("1e999", "finite"),
        ("[-1e999]", "finite"),
        ("NaN", "finite"),
        ("-Infinity", "finite"),
        ("[" + "{}," * 20 + "1]", None),
        ("[" + "{}," * 200 + "1]", "more than 100 values"),
        ('"' + "x" * 5000 + '"', "longer than 4096"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_beyond_the_bounds(text: str, why: str | None) -> None:
    for form in (text, text.encode(), text.encode("utf-16")):
        limits: dict[str, Any] = {"limit": 4096 if "longer" in str(why) else 1 << 22}
        limits |= {"values": 100} if "values" in str(why) else {}
        if why is None:
            assert read(form, **limits) == json.loads(text)
        else:
            with pytest.raises(ValueError, match=why) as caught:
                read_json(form, **limits)
            assert len(str(caught.value)) < 200


def test_what_other_programs_write_is_read_where_it_is_asked_for() -> None:
    found = read(f'{{"loss": NaN, "low": -1e999, "number": {"7" * 200}}}', finite=False, digits=4300)
    assert str(found["loss"]) == "nan"
    assert found["low"] == -float("inf")
    assert found["number"] == int("7" * 200)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"c": 1, "c": 2}}]'])
def test_a_key_that_stands_twice(text: str) -> None:
    assert read(text) == json.loads(text)
    with pytest.raises(ValueError, match="stands twice"):
        read_json(text, unique=True)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_what_is_within_them_is_what_json_reads(value: Any) -> None:
    text = json.dumps(value)
    assert read(text, unique=True) == value == read(text.encode())
    assert read(json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")) == value


def test_only_regular_files_of_some_length(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": [1]}', encoding="utf-8")
    assert read(path) == {"a": [1]}
    with pytest.raises(OSError, match="longer"):
        read_json(path, limit=5)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read_json(tmp_path / "pipe")


@pytest.mark.parametrize("piece", ["{},", "[],", '{"a":1},', "1.5,", '"",'])
def test_the_worst_texts_stay_below_half_a_gigabyte(piece: str) -> None:
    """What a text of 64 MiB becomes in memory, text included; none of them is read whole."""
    code = (
        "from flash_doctor.system.bounds import read_json\n"
        f"piece = {piece!r}\n"
        "text = '[' + piece * (1_990_000 // (piece.count(',') + piece.count('{') + piece.count('['))) + '1]'\n"
        "began()\n"
        "read_json(text, limit=64 << 20)\n"
    )
    assert peak_of(code) < 300 << 20


@pytest.mark.parametrize("value", [-1, -0.5, 1e999, float("nan"), 1e30, 1 << 63, "many", None, [1], "9" * 5000, "²"])
def test_no_number_of_something(value: object) -> None:
    if value == -0.5:
        assert count_of(value) == 0
    else:
        with pytest.raises(ValueError, match=r"no number of something|digits|convert"):
            count_of(value)


def test_a_number_of_something() -> None:
    assert [count_of(value) for value in (0, 7.9, "12", True, (1 << 63) - 1)] == [0, 7, 12, 1, (1 << 63) - 1]


@pytest.mark.parametrize("text", ["a,b\n" * 101, '"' + "x" * 200_000, "a\0b\n" * 101, "\n" * 50 + "a\n" * 101])
def test_rows_beyond_the_bounds(text: str) -> None:
    with pytest.raises(ValueError, match=r"rows|field|value"):
        list(csv_rows(text, rows=100))


def test_a_record_keeps_what_is_no_utf_8_and_refuses_a_zero(tmp_path: Path) -> None:
    path = tmp_path / "RECORD"
    path.write_bytes(b'a.py,sha256=x,1\r\n\n"b,c.py",,\n\xff.py,,\n')
    assert record_rows(path).unproved() == [["a.py", "sha256=x", "1"], ["b,c.py", "", ""], ["\udcff.py", "", ""]]
    path.write_bytes(b"a\0.py,,\n")
    with pytest.raises(ValueError, match="zero byte"):
        record_rows(path)


def test_tags_that_multiply() -> None:
    assert {str(tag) for tag in tags_of("py2.py3-none-any")} == {"py2-none-any", "py3-none-any"}
    many = ".".join(f"cp{number}" for number in range(17))
    for text in (f"{many}-{many}-{many}", "py3-none", "py3-none-any-any", "", "-" * 1000):
        with pytest.raises(ValueError, match=r"tag"):
            tags_of(text)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x.whl",
        "x-1-py3-none.whl",
        f"x-1-{'.'.join(['cp3'] * 80)}-{'.'.join(['a'] * 80)}-{'.'.join(['b'] * 80)}.whl",
        f"x-{'9' * 900}.{'9' * 5000}-py3-none-any.whl",
        f"x-1-{'1' * 5000}-py3-none-any.whl",
        "\ud800-1-py3-none-any.whl",
    ],
    ids=lambda name: name[:24].encode("ascii", "replace").decode(),
)
def test_no_name_of_a_wheel(name: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - packaging's words are its own
        wheel_name(name)


def test_a_name_of_a_wheel() -> None:
    name, version, tags = wheel_name("Flash_Attn-2.8.3+cu12-1-cp311-cp311-linux_x86_64.whl")
    assert (name, str(version), len(tags)) == ("flash-attn", "2.8.3+cu12", 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = 0x" + "f" * 5000, "digits"),
        ("a = [{b = 1" + "0" * 60 + "}]", "digits"),
        ("a = " + "[" * 70 + "]" * 70, "deep"),
        ("a = " + "[" * 5000 + "]" * 5000, "deep"),
        (".".join("a" * 5000) + " = 1", "deep"),
        ("x = 'y'\n" * 200_000, "longer than"),
        ("a = ", ""),
    ],
    ids=lambda value: str(value)[:12],
)
def test_toml_beyond_the_bounds(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why or "Invalid") as caught:
        read_toml(text)
    assert str(caught.value)


def test_toml_within_them() -> None:
    assert read_toml("a = [1, {b = -1e3}]\n[c.d]\ne = 2026-01-01\n").unproved()["a"] == [1, {"b": -1000.0}]
