"""Files of strangers, given to the commands: an answer about the file, never "flash-doctor itself failed"."""

from __future__ import annotations

import json
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.cli.app import main
from flash_doctor.cli.errors import run
from flash_doctor.render.document import report_document, to_json
from flash_doctor.watch.trainer_files import Unreadable, read_settings
from patients import broken
from preflight_bench import CASES

if TYPE_CHECKING:
    from pathlib import Path

FACTS = ("--facts", str(CASES / "healthy-01-qlora-sharegpt-fa2" / "facts.json"))


def called(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    typed = list(map(str, words))
    code = run(lambda: main(typed), typed)
    said = "".join(capsys.readouterr())
    assert "itself failed" not in said
    return code, said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("datasets:\nlora_module_to_save:      # the s is missing\n  1 embed_tokens\n\nspecial_tokens:\n", 2),
        ("lora_module_to_save:   # a\n\n  - embed_tokens   # b\n\n# c\nspecial_tokens:\ndatasets:\n", 1),
        ("datasets:\n# a\n\nlora_module_to_save: # b\n   # c\n  word\n\n\n# d\nadapter: lora # e\n", 4),
    ],
)
def test_comments_in_odd_places_hide_no_misspelt_key(
    text: str, line: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    code, said = called(capsys, "preflight", path, *FACTS)
    assert code == 1
    assert "PF-key-unknown lora_module_to_save" in said
    assert f"config.yaml:{line}: lora_module_to_save" in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("base_model: x\nadapter:    # a comment\n  1 word\n deeper: 3\n\nlr: 1\n", 4),
        ("base_model: x\ndatasets:  # a comment\n  - path: d\n   type: alpaca\n\nadapter: lora\n", 4),
        ('base_model: "\\UFFFFFFFF"\n', 1),
        ("base_model: x\n\nadapter: [1, 2 # open\n\nlr: 1\n", 5),
        ("base_model: x\nadapter: lora\n? {a: 1}: 2\nlr: *nobody\n", 4),
        ("%YAML 9" + "9" * 5000 + ".1\n---\nbase_model: x\n", 1),
    ],
)
def test_what_is_no_yaml_names_the_line(
    text: str, line: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    code, said = called(capsys, "preflight", path, *FACTS)
    assert code == 1
    assert f"config.yaml:{line}" in said


@pytest.mark.parametrize(
    "key", ["hidden_size", "num_attention_heads", "vocab_size", "num_experts", "intermediate_size"]
)
@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "-1", "9" * 5000, "1" + "0" * 100, '"x"', "[1]"])
def test_a_model_of_no_shape_is_not_computed_with(
    key: str, number: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 10}
    shape |= {"num_attention_heads": 2, "intermediate_size": 128}
    (tmp_path / "base").mkdir()
    text = json.dumps({**shape, key: "@"}).replace('"@"', number)
    path = tmp_path / "config.yaml"
    path.write_text(f"base_model: {tmp_path}/base\nadapter: lora\nmicro_batch_size: 1\n")
    recorded = tmp_path / "report.json"
    recorded.write_text(to_json(report_document(broken(), 1)))
    for shown, expected in ((text, True), (json.dumps(shape), False)):
        (tmp_path / "base" / "config.json").write_text(shown)
        _, said = called(capsys, "preflight", path, "--for", recorded, "--json")
        assert ("PF-vram" in {each["code"] for each in json.loads(said)["unchecked"]}) is expected


def architectures(report: Any, text: str) -> Any:
    """The same report with one architecture of a compiled file by another text."""
    extension = {
        "path": "/x/_C.so",
        "owner": "torch",
        "cuda_archs": {"sass": ["8.0", text], "ptx": []},
        "file": {"absent": "a library of torch itself"},
    }
    report["environment"]["extensions"] = [extension]
    return report


@pytest.mark.parametrize(
    "text", ["8.08.08", "", ".", "9", "a.b", "9.0x", "9.0aa", "-9.0", "1" * 5000 + ".0", "९.0", "9.0\n"]
)
def test_an_architecture_that_is_none(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    for word, refused in ((text, True), ("9.0a", False)):
        path.write_text(json.dumps(architectures(report_document(broken(), 1), word)))
        code, said = called(capsys, "check", "--for", path)
        assert (code == 2, "is no GPU architecture" in said) == (refused, refused)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema":' * 100_000, "9" * 100_000, '{"a":1,"a":2}', "NaN", ""])
@pytest.mark.parametrize("command", [("check", "--for"), ("fix", "--plan"), ("explain", "--for"), ("fleet", "compare")])
def test_json_that_is_none_or_without_end(
    text: str, command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "given.json"
    path.write_text(text)
    log = tmp_path / "x.log"
    log.write_text("nothing\n")
    words: list[str | Path] = [command[0], log, *command[1:]] if command[0] == "explain" else list(command)
    code, _ = called(capsys, *words, path)
    assert code in {1, 2, 6}


def saved(path: Path, content: bytes, method: int, *, flag: int = 0, rubbish: bool = False) -> Path:
    """As torch.save writes it; the flag of an encrypted member set, or its compressed bytes exchanged."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x/data.pkl", content)
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        struct.pack_into("<H", data, data.index(mark) + at, flag)
    if rubbish:
        start = 30 + len("x/data.pkl")
        data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("method", "flag", "rubbish"),
    [(0, 1, False), (8, 1, False), (8, 0, True), (12, 0, False), (14, 0, False), (0, 0x41, False)],
)
def test_arguments_of_a_training_that_cannot_be_read(tmp_path: Path, method: int, flag: int, rubbish: bool) -> None:
    with pytest.raises(Unreadable):
        read_settings(saved(tmp_path / "training_args.bin", b"x" * 500, method, flag=flag, rubbish=rubbish))
    with pytest.raises(Unreadable):
        read_settings(tmp_path / "not there")
