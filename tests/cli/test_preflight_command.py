"""`doctor preflight` as it is typed: exit codes, JSON, width, bad input, an adapter alone, a report of elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

import patients
from flash_doctor.cli.app import main
from flash_doctor.cli.errors import run
from flash_doctor.render.document import report_document, to_json
from preflight_bench import CASES
from shipped import validator


def called(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    words = ["preflight", *map(str, arguments)]
    code = run(lambda: main(words), words)
    out, err = capsys.readouterr()
    return code, out, err


def case(name: str) -> list[str | Path]:
    return [CASES / name / "config.yaml", "--facts", CASES / name / "facts.json"]


BONUS = "bonus-seed-000-all-faults-at-once"


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (BONUS, [], 1),
        ("healthy-01-qlora-sharegpt-fa2", ["--strict"], 0),
        ("sick-05-prequantised-base-and-full-disk", [], 0),
        ("sick-05-prequantised-base-and-full-disk", ["--fail-on", "warning"], 1),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_exit_codes(
    name: str, options: list[str], expected: int, form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(capsys, *case(name), *options, *form)[0] == expected


def test_a_missing_part_is_unchecked_and_strict_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads((CASES / "healthy-01-qlora-sharegpt-fa2" / "facts.json").read_text())
    del facts["gpus"]
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    config = CASES / "healthy-01-qlora-sharegpt-fa2" / "config.yaml"
    code, out, _ = called(capsys, config, "--facts", tmp_path / "facts.json", "--strict", "--json")
    document = json.loads(out)
    assert code == 6
    assert document["findings"] == []
    assert "PF-vram" in {each["code"] for each in document["unchecked"]}


def test_the_document_follows_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, *case(BONUS), "--json")
    document = json.loads(out)
    validator("report").validate(document)
    assert (code, err, document["exit_code"], document["verdict"]) == (1, "", 1, "broken")
    first = document["findings"][0]
    assert (first["code"], first["subject"]) == ("PF-attn-broken", "flash_attention")
    assert first["evidence"][0] == "config.yaml:35: flash_attention = true"


def test_eighty_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = called(capsys, *case(BONUS))
    assert out.startswith("DO NOT START")
    assert max(map(len, out.splitlines())) <= 80
    assert "type: chat_template" in out


@pytest.mark.parametrize(("gpus", "found"), [("2", []), ("4", ["PF-grpo-batch"])])
def test_more_gpus_than_there_are(gpus: str, found: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = called(capsys, *case("healthy-04-grpo"), "--gpus", gpus, "--json")
    assert [each["code"] for each in json.loads(out)["findings"]] == found


def test_yaml_faults_show_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("base_model: x\ndatasets:\n\t- path: d\n")
    code, out, _ = called(capsys, tmp_path / "c.yaml")
    assert code == 1
    assert "c.yaml:3" in out
    assert "replace the tab by spaces" in out


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"\x00", "binary"), (b"colour: red\n", "no training configuration")],
)
def test_bad_input_is_told(
    content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "c.yaml").write_bytes(content)
    code, out, err = called(capsys, tmp_path / "c.yaml")
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize("text", ["{", "[]", '{"gpus": [{"cc": "x"}]}', '{"packages": {"torch": "not a version"}}'])
def test_facts_of_another_form_are_told(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "facts.json").write_text(text)
    code, _, err = called(capsys, case(BONUS)[0], "--facts", tmp_path / "facts.json")
    assert code == 2
    assert "facts.json" in err


def test_no_configuration_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys)
    assert code == 2
    assert "--adapter" in err


def test_an_adapter_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "unsloth/x-bnb-4bit"}')
    code, out, _ = called(capsys, "--adapter", tmp_path, "--json")
    assert code == 0
    assert [each["code"] for each in json.loads(out)["findings"]] == ["PF-base-prequantised"]
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/x"}')
    assert json.loads(called(capsys, "--adapter", tmp_path, "--json")[1])["findings"] == []


def test_an_adapter_beside_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "other/base"}')
    _, out, _ = called(capsys, *case("healthy-01-qlora-sharegpt-fa2"), "--adapter", tmp_path, "--json")
    assert [each["code"] for each in json.loads(out)["findings"]] == ["PF-base-prequantised"]


def test_a_machine_in_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    report.write_text(to_json(report_document(patients.healthy(), 0)))
    code, out, _ = called(capsys, case("healthy-02-t4-fp16-legacy-flags")[0], "--for", report, "--json")
    document = json.loads(out)
    unchecked = {each["code"] for each in document["unchecked"]}
    assert code in (0, 1)
    assert {"PF-disk-headroom", "PF-disk-checkpoints"} <= unchecked
    assert not {"PF-bf16-arch", "PF-tf32-fp8-arch"} & unchecked


def test_here_and_now_without_secrets(
    tmp_path: Path, venv: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real run on this machine: an empty environment, a model of two layers, a login that must not be shown."""
    shutil.copytree(CASES / "own-healthy-lora-1b", tmp_path / "run")
    folder = tmp_path / "run"
    text = (folder / "config.yaml").read_text().replace("NousResearch/Llama-3.2-1B", "./model")
    (folder / "config.yaml").write_text(text + "wandb_project: p\nhub_token: hf_verysecret\n")
    (folder / "model").mkdir()
    shape = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 99,
    }
    (folder / "model" / "config.json").write_text(json.dumps(shape))
    monkeypatch.setenv("WANDB_API_KEY", "averysecretkey")
    monkeypatch.chdir(folder)
    code, out, err = called(capsys, "config.yaml", "--python", venv / "bin" / Path(sys.executable).name, "--json")
    document = json.loads(out)
    found = {each["code"] for each in document["findings"]}
    assert code == 1
    assert {"PF-optimizer", "PF-data-too-few", "PF-wandb-auth"} <= found  # no bitsandbytes, four rows, no wandb
    assert "PF-disk-headroom" not in {each["code"] for each in document["unchecked"]}
    assert "verysecret" not in out + err


def test_with_facts_the_data_beside_the_configuration_are_meant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CASES / "healthy-02-t4-fp16-legacy-flags")  # which has a data.jsonl of another kind
    assert called(capsys, *case("healthy-01-qlora-sharegpt-fa2"))[0] == 0


def test_paths_that_are_none(
    tmp_path: Path, venv: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (CASES / "own-healthy-lora-1b" / "config.yaml").read_text()
    text = text.replace("./outputs/lora-out", "~nosuchuser/" + "x" * 5000).replace("data.jsonl", "y" * 5000 + ".jsonl")
    (tmp_path / "config.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    code, out, err = called(capsys, "config.yaml", "--python", venv, "--json")
    assert (code, err) == (1, "")
    assert "PF-data-missing" in {each["code"] for each in json.loads(out)["findings"]}
