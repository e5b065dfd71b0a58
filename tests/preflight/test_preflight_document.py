"""YAML with line numbers; hostile and broken files end in clear words."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from flash_doctor.errors import BadInput
from flash_doctor.preflight.document import Document, Malformed, read_document
from flash_doctor.preflight.formats import read_run

if TYPE_CHECKING:
    from pathlib import Path


def parsed(text: str, tmp_path: Path) -> Document:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    document = read_document(path)
    assert isinstance(document, Document), document
    return document


def malformed(text: str, tmp_path: Path) -> Malformed:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    document = read_document(path)
    assert isinstance(document, Malformed), document
    return document


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", False), ("Yes", True), ("off", False), ("y", "y"), ("1e-4", "1e-4"), ("1.0e-4", 1e-4), ("2", 2),
        ("1_000", 1000), ("0x10", 16), ("010", 8), ("~", None), ("", None), ("1:30", 90),
        ("-12:30:45", -45045), ("01:30", "01:30"),
        ("2020-01-01", "2020-01-01"),
        (".inf", float("inf")), ('"no"', "no"), ("'1'", "1"), ("0o17", "0o17"), ("-.5", "-.5"), ("1.5e3", "1.5e3"),
    ],
)  # fmt: skip
def test_words_are_read_as_the_training_frameworks_read_them(written: str, value: Any, tmp_path: Path) -> None:
    assert parsed(f"base_model: {written}\n", tmp_path).value["base_model"] == value


def test_lines_of_nested_keys(tmp_path: Path) -> None:
    document = parsed("a: 1\ndatasets:\n  - path: x\n    type: y\n  -\n    path: z\n", tmp_path)
    assert document.lines["datasets/0/type"] == 4
    assert document.lines["datasets/1/path"] == 6


def test_a_repeated_key_keeps_both_lines_and_the_last_value(tmp_path: Path) -> None:
    document = parsed("a: 1\nb: {c: 1, c: 2}\na: 3\n", tmp_path)
    assert document.value == {"a": 3, "b": {"c": 2}}
    assert [(twice.key, twice.first, twice.again) for twice in document.duplicates] == [("b/c", 2, 2), ("a", 1, 3)]


def test_merge_keys_and_aliases(tmp_path: Path) -> None:
    document = parsed("base: &b {x: 1, y: 2}\nrun:\n  <<: *b\n  y: 3\n", tmp_path)
    assert document.value["run"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nb:\n\t- c\n", 3, "tab"),
        ("a: [1\nb: 2\n", 2, ""),
        ("- a\n- b\n", 1, "mapping"),
        ("", 1, "mapping"),
        ("just words", 1, "mapping"),
        ("a: !include other.yaml\n", 1, "!include"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, ""),
        ("a: *nowhere\n", 1, ""),
    ],
)
def test_what_is_no_yaml_mapping_is_told_with_its_line(text: str, line: int, word: str, tmp_path: Path) -> None:
    fault = malformed(text, tmp_path)
    assert (fault.line, word in fault.why) == (line, True)
    assert fault.shown[1].endswith("^")


def test_a_tab_inside_a_text_of_several_lines_is_none_of_our_business(tmp_path: Path) -> None:
    assert parsed("a: |\n  one\n  \ttwo\nb: 1\n", tmp_path).value["a"] == "one\n\ttwo\n"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB.encode(), "unfold"),
        (b"a: &a [*a]\n", "includes itself"),
        (b"a: " + b"[" * 5000, "nested"),
        (b"a: \xff\xfe", "UTF-8"),
        (b"\x7fELF\x00\x00\x01", "binary"),
        (b"a: " + b"x" * (5 * 1024 * 1024), "larger"),
        (b"a: " + b"x" * (300 * 1024), "longer"),
        (b"a: " + b"- " * 5000 + b"x", "nested"),
    ],
    ids=["bomb", "cycle", "depth", "encoding", "binary", "size", "length", "dashes"],
)
def test_hostile_files_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(BadInput) as raised:
        read_document(path)
    assert words in f"{raised.value.message} {' '.join(raised.value.evidence)}"


@pytest.mark.parametrize("name", [".", "missing.yaml", "a\x00b"])
def test_what_cannot_be_read_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_document(tmp_path / name)


@pytest.mark.parametrize("text", ["provider: modal\ngpu: h100\nproject_name: x\n", "colour: red\n", "{}\n"])
def test_other_configurations_are_not_guessed_at(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no training configuration"):
        read_run(parsed(text, tmp_path))


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text("abcdef", min_size=1), _VALUES, max_size=5))
def test_json_is_yaml(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("json") / "config.yaml"
    path.write_text(json.dumps(value))
    document = read_document(path)
    assert isinstance(document, Document)
    assert document.value == value


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_document_or_clear_words(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "config.yaml"
    path.write_bytes(data)
    with suppress(BadInput):
        assert isinstance(read_document(path), (Document, Malformed))


def test_a_long_list_is_not_deep(tmp_path: Path) -> None:
    text = "base_model: x\ntokens:\n" + "".join(f"  - word {number}\n" for number in range(500))
    assert len(parsed(text, tmp_path).value["tokens"]) == 500


def test_a_json_file_may_be_indented_by_tabs_and_write_exponents(tmp_path: Path) -> None:
    path = tmp_path / "args.json"
    path.write_text('{\n\t"per_device_train_batch_size": 1,\n\t"learning_rate": 1e-4,\n\t"bf16": true\n}\n')
    document = read_document(path)
    assert isinstance(document, Document)
    assert document.value["learning_rate"] == 1e-4
    assert document.lines["bf16"] == 4
