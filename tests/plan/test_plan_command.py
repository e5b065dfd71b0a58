"""`flash-doctor plan` in-process: every option, every form, machines at random against the oracle."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packaging.pylock import Pylock
from packaging.requirements import Requirement
from ward import names, patient

from flash_doctor.cli.app import main
from flash_doctor.cli.errors import run
from flash_doctor.diagnose import diagnose
from flash_doctor.render.document import report_document, to_json
from flash_doctor.system.codec import encode
from seats import draw, facts
from shipped import schema
from wheel_oracle import wheels_for

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = schema("plan")
H100 = ("--gpu", "H100x8", "--driver", "570.86", "--python-version", "3.12", "--glibc", "2.35", "--machine", "x86_64")
FITS = (*H100, "--torch", "2.8.0+cu128")
NOTHING = (*H100, "--torch", "2.15.0+cu126")


def call(*arguments: str | Path) -> int:
    words = [str(word) for word in arguments]
    return run(lambda: main(words), words)


@pytest.fixture
def plan(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run plan offline; exit code and what stands on stdout, as JSON where it is."""

    def planned(*arguments: str | Path) -> tuple[int, Any]:
        code = call("plan", "--offline", *arguments)
        text = capsys.readouterr().out
        return code, json.loads(text) if "--json" in arguments else text

    return planned


@pytest.mark.parametrize("seed", range(1000, 1030))
def test_random_machines_against_the_oracle(seed: int, plan: Any) -> None:
    here, words = draw(random.Random(seed))
    options = [word for name, value in words.items() for word in (f"--{name.replace('_', '-')}", value)]
    code, document = plan("--json", *options)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    existing = wheels_for(here)
    assert code == document["exit_code"] == (0 if existing else 3)
    if existing:
        first = document["steps"][0]
        row = (first["publisher"], first["version"])
        assert row in {
            (one["publisher"], f"{one['version']}+{one['local']}" if one["local"] else one["version"])
            for one in existing
        }
    else:
        assert document["steps"] == []
        assert document["alternatives"]


def test_the_text_tells_the_change_its_source_and_what_was_refused(plan: Any) -> None:
    code, text = plan(*FITS)
    assert code == 0
    assert text.startswith("Plan: 2 steps, at least ")
    for words in ("install flash-attn 2.8.3", "dao-ailab, github.com", "pinned in the doctor's facts", "Python tag",
                  "Refused: ", "the nearest", "Facts: shipped 20", "never refreshed", "rules"):  # fmt: skip
        assert words in text, words
    to_be_copied = ("Next: ", "    flash_attn-")
    assert max(len(line) for line in text.splitlines() if not line.startswith(to_be_copied)) <= 80
    assert "\nNext: flash-doctor plan --gpu H100x8 " in text


def test_no_plan_names_the_ways_with_cost_risk_and_command(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = plan("--json", *NOTHING)
    assert code == 3
    moves = {way["move"] for way in document["alternatives"]}
    assert {"torch", "build", "fallback"} <= moves
    for way in document["alternatives"]:
        if way["command"] is None:
            assert way["move"] == "fallback" or not way["possible"]
            continue
        program, *words = shlex.split(way["command"])
        assert program == "flash-doctor"
        code = call(*words, "--offline", "--json")
        chosen = json.loads(capsys.readouterr().out)
        assert code == 0, way["command"]
        assert [step["name"] for step in chosen["steps"]] == [step["name"] for step in way["steps"]]
        assert chosen["steps"][0].get("requirement") == way["steps"][0].get("requirement")
    _, text = plan(*NOTHING)
    assert text.startswith("No plan: ")
    assert "[cautious]" in text
    assert "cost " in text


@pytest.mark.parametrize("left_out", ["--gpu", "--driver", "--torch", "--python-version", "--glibc", "--machine"])
def test_what_is_left_out_rules_nothing_out_and_is_said(left_out: str, plan: Any) -> None:
    place = FITS.index(left_out)
    code, document = plan("--json", *FITS[:place], *FITS[place + 2 :])
    assert code == 0
    assert any("rules nothing out" in line for line in document["because"])


def test_requirements_carry_hashes_and_say_what_has_none(plan: Any) -> None:
    _, text = plan(*FITS, "--format", "requirements")
    mode, *lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert mode == "--require-hashes"
    assert [Requirement(line.partition(" --hash")[0]).name for line in lines] == ["flash-attn", "einops"]
    assert re.search(r" --hash=sha256:[0-9a-f]{64}$", lines[0])
    assert "# NO HASH, so pip refuses this file: the index chooses the file" in text


def report_of(name: str) -> str:
    one = patient(name)
    return to_json(report_document(diagnose(one.target, one.environment, facts()), 0))


@pytest.fixture
def has_einops(tmp_path: Path) -> Path:
    """A report of a machine where flash-attn alone is missing."""
    file = tmp_path / "report.json"
    file.write_text(report_of("flash-absent"))
    return file


def test_a_report_is_planned_for(has_einops: Path, plan: Any) -> None:
    code, document = plan("--json", "--for", has_einops)
    assert code == 0
    assert [step["name"] for step in document["steps"]] == ["flash-attn"]
    assert str(has_einops) in document["machine"]


def test_all_hashed_requirements_use_hash_mode_and_the_lock_reads_back(has_einops: Path, plan: Any) -> None:
    _, text = plan("--for", has_einops, "--format", "requirements")
    mode, line = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert mode == "--require-hashes"
    assert re.fullmatch(r"flash-attn @ https://\S+\.whl --hash=sha256:[0-9a-f]{64}", line)
    _, lock = plan("--for", has_einops, "--format", "pylock")
    (package,) = Pylock.from_dict(tomllib.loads(lock)).packages
    assert package.wheels is not None
    assert package.wheels[0].hashes["sha256"] in line


def test_a_lock_file_is_refused_while_a_step_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "--offline", *FITS, "--format", "pylock") == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert "einops: flash-attn needs it" in told.err


@pytest.mark.parametrize("options", [FITS, (*NOTHING, "--allow", "build"), (*NOTHING, "--allow", "torch")])
def test_the_script_is_clean_and_quoted(options: tuple[str, ...], tmp_path: Path, plan: Any) -> None:
    file = tmp_path / "plan.sh"
    code, shown = plan(*options, "--format", "script", "--output", file)
    assert (code, shown) == (0, "")
    subprocess.run(["bash", "-n", str(file)], check=True)
    checker = Path(sys.executable).with_name("shellcheck")
    if checker.exists():
        subprocess.run([str(checker), str(file)], check=True)


def test_a_script_with_hostile_words_runs_none_of_them(tmp_path: Path, has_einops: Path, plan: Any) -> None:
    hostile = tmp_path / "a\n$(touch x)'.json"
    hostile.write_text(has_einops.read_text())
    _, text = plan("--for", hostile, "--format", "script")
    assert "\n$(touch" not in text
    assert all(line.startswith("#") for line in text.splitlines() if "touch x" in line)


ABOUT_FLASH = [name for name in names() if any(code.startswith("F") for code in patient(name).fires)]


@pytest.mark.parametrize("name", [*ABOUT_FLASH, *(name for name in names() if name.startswith("healthy"))])
def test_a_healthy_flash_attn_needs_nothing_and_a_sick_one_is_not_called_healthy(
    name: str, tmp_path: Path, plan: Any
) -> None:
    file = tmp_path / "report.json"
    file.write_text(report_of(name))
    code, document = plan("--json", "--for", file)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert code == document["exit_code"]
    sick = {code[0] for code in patient(name).fires} & {"F"}
    if name.startswith("healthy") and "login" not in name and "flash-attn" in str(document["because"]):
        assert document["steps"] == [], name
    if sick and not document["steps"]:
        severities = {one.severity.value for one in diagnose_of(name) if one.code.startswith("F")}
        assert code == 3 or severities == {"info"}, name


def diagnose_of(name: str) -> Any:
    one = patient(name)
    return diagnose(one.target, one.environment, facts()).findings


def test_nothing_to_do(tmp_path: Path, plan: Any) -> None:
    file = tmp_path / "report.json"
    file.write_text(report_of("healthy-h100"))
    code, document = plan("--json", "--for", file)
    assert (code, document["steps"]) == (0, [])
    assert "no fault was found" in document["because"][0]
    _, text = plan("--for", file)
    assert text.startswith("Nothing to do")
    code, document = plan("--json", "--for", file, "--want", "flash-attn==2.7.4.post1")
    assert document["steps"] or code == 3, "another version was asked for"


def test_a_damaged_torch_that_is_wanted_is_planned_anew(tmp_path: Path, plan: Any) -> None:
    file = tmp_path / "report.json"
    file.write_text(report_of("torch-files-missing"))
    torch = str(encode(patient("torch-files-missing").environment.torch)["version"])
    code, document = plan("--json", "--for", file, "--want", "torch")
    assert code == 0
    assert document["steps"][0]["requirement"] == f"torch=={torch}"


def test_every_plan_command_in_a_remedy_parses_and_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the ward's remedies tell people to type is a command line that this program takes."""
    typed = set()
    for name in names():
        for finding in diagnose_of(name):
            typed |= {(name, line) for line in (finding.remedy.commands if finding.remedy else ())}
    ours = sorted({(name, line) for name, line in typed if re.match(r"flash-doctor (plan|stacks|matrix)\b", line)})
    assert ours
    seen = set()
    for name, line in ours:
        words = shlex.split(line)[1:]
        if "--python" in words:  # the recorded machine stands for it
            del words[words.index("--python") : words.index("--python") + 2]
        if tuple(words) in seen:
            continue
        seen.add(tuple(words))
        file = tmp_path / "report.json"
        file.write_text(report_of(name))
        extra = ("--offline", "--for", file) if words[0] == "plan" else ()
        assert call(*words, *extra, "--json") in {0, 3}, (name, line)
        capsys.readouterr()


def test_every_plan_command_in_the_facts_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The catalogue of complaints and the rules of preflight name commands, too."""
    texts = [path.read_text() for path in facts().folder.rglob("*.toml")]
    named = {found for text in texts for found in re.findall(r"flash-doctor plan(?: --[a-z-]+ [\w.,=+]+)*", text)}
    assert "flash-doctor plan --allow torch" in named
    for line in named:
        assert call(*shlex.split(line)[1:], "--offline", "--json", *FITS) == 0, line
        capsys.readouterr()


def wrong(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (wrong("--want flash-attn --want flash-attn-3"), "different products"),
        (wrong("--want flash-attn==2.8.3 --want flash-attn==2.7.4"), "no version of flash-attn"),
        (wrong("--keep torch --allow torch"), "to be kept and to be changed"),
        (wrong("--keep torch --want torch==2.8.0"), "to be kept and to be changed"),
        (wrong("--allow everything"), "nothing that can be allowed"),
        (wrong("--want numpy"), "cannot be planned"),
        (wrong("--stack no-such-stack"), "there is no stack"),
        (wrong("--stack seed --want torch"), "leave out --want"),
        (wrong("--gpu H9000"), "not known"),
        (wrong("--python-version 2.7"), "cannot be read"),
        (wrong("--for /nowhere/report.json"), "cannot be read"),
        (wrong("--gpu H100 --python /usr"), "exclude each other"),
        (wrong("--wheelhouse /nowhere"), "is not a folder"),
        (wrong("--gpu H100 --why no.whl"), "no publisher in the matrix has"),
    ],
)
def test_bad_input_is_told_and_ends_with_2(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = () if {"--for", "--gpu", "--python-version"} & set(arguments) else ("--torch", "2.8.0+cu128")
    assert call("plan", "--offline", "--json", *machine, *arguments) == 2
    assert told in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("text", ["{}", '{"schema": "flash-doctor/report/9"}', "rubbish", "[" * 100_000])
def test_a_report_of_another_schema_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    assert call("plan", "--offline", "--json", "--for", file) == 2
    assert json.loads(capsys.readouterr().out)["schema"] == "flash-doctor/error/1"


def test_a_wheelhouse_with_broken_wheels_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "flash_attn-2.8.3-cp312-cp312-linux_x86_64.whl").write_bytes(b"PK no zip")
    assert call("plan", "--offline", *FITS, "--wheelhouse", tmp_path) == 2
    assert "flash_attn-2.8.3-cp312-cp312-linux_x86_64.whl" in capsys.readouterr().err


def test_why_not_this_wheel(plan: Any) -> None:
    name = "flash_attn-2.8.3+cu12torch2.7cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"
    _, document = plan("--json", *FITS, "--why", name)
    assert "made for torch 2.7, this is 2.8.0" in document["why"][0]


def test_all_holds_every_refusal_and_the_rest_the_nearest(plan: Any) -> None:
    _, short = plan("--json", *FITS)
    _, full = plan("--json", *FITS, "--all")
    assert len(short["rejected"]) == 20
    assert len(full["rejected"]) == sum(full["refused"].values()) == sum(short["refused"].values())


def test_a_stack_is_planned_with_what_is_wrong_in_it(plan: Any) -> None:
    code, document = plan("--json", "--stack", "seed", *wrong("--gpu A100 --python-version 3.10 --torch none"))
    assert code == 0
    requirements = [step["requirement"] for step in document["steps"]]
    assert requirements[0] == "torch==2.3.1+cu121"
    assert requirements[1].startswith("flash-attn==2.5.8")
    assert {"transformers==4.43.3", "numpy==1.26.4"} <= set(requirements)
    assert any(line.startswith("known about this stack: ") for line in document["because"])


def test_words_may_be_joined_by_commas(plan: Any) -> None:
    _, document = plan("--json", *FITS, "--allow", "torch,build", "--want", "flash-attn>=2.7,<2.8")
    assert document["goal"]["allow"] == ["torch", "build"]
    assert document["goal"]["wanted"] == ["flash-attn>=2.7,<2.8"]
    assert document["steps"][0]["version"].startswith("2.7.")


def test_without_network_the_plan_stays_and_says_what_is_open(monkeypatch: pytest.MonkeyPatch, plan: Any) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    for name in [name for name in os.environ if name.startswith(("UV_INDEX", "UV_EXTRA", "UV_CONFIG"))]:
        monkeypatch.delenv(name)
    done = subprocess.run(
        [sys.executable, "-m", "flash_doctor", "plan", "--json", *FITS], capture_output=True, text=True, timeout=60
    )
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert document["steps"][1]["url"] is None
    assert "could not be reached" in document["notes"][0]
