"""What treatments print: real documents are valid under the shipped schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema

from shipped import schema

if TYPE_CHECKING:
    from clinic import Clinic


def test_real_documents_are_valid(clinic: Clinic) -> None:
    clinic.flash("2.8.3")
    clinic.einops()
    shelf = ("--wheelhouse", str(clinic.wheels), "--offline")
    for arguments in (("fix", "--dry-run", *shelf), ("fix", "--yes", "--import-only", *shelf), ("fix", *shelf)):
        outcome = json.loads(clinic.run(*arguments, "--json").stdout)
        jsonschema.validate(outcome, schema("outcome"))
    (receipt,) = clinic.site.glob(".flash-doctor/*/receipt.json")
    jsonschema.validate(json.loads(receipt.read_text()), schema("outcome"))
    proof = clinic.run("verify", "--import-only", "--json")
    assert proof.returncode == 0
    jsonschema.validate(json.loads(proof.stdout), schema("proof"))
    assert json.loads(proof.stdout)["entry"] == "flash_attn"
    for more in (("--list",), (), ()):
        jsonschema.validate(json.loads(clinic.run("rollback", *more, "--json").stdout), schema("rollback"))
    nothing = clinic.run("verify", "--json")
    assert nothing.returncode == 2
    assert "is not installed" in json.loads(nothing.stdout)["error"]


def test_text_says_what_happens_and_what_to_do_next(clinic: Clinic) -> None:
    clinic.flash("2.8.3")
    clinic.einops()
    clinic.environment["FLASH_DOCTOR_PROGRAM"] = "scripts/doctor"
    told = clinic.fix().stdout
    for words in (
        "install flash-attn 2.8.3",
        "sha256 of that very file",
        "Nothing to download",
        "scripts/doctor rollback --python",
    ):
        assert words in told
    assert "Verified: flash_attn 2.8.3, it imports" in clinic.run("verify", "--import-only").stdout
    listed = " ".join(clinic.run("rollback", "--list").stdout.split())
    assert "install flash-attn 2.8.3" in listed
    assert "Undone: install" in clinic.run("rollback").stdout
    assert Path(clinic.site / "torch").exists()


def test_the_installed_library_is_proved_and_not_one_in_the_current_folder(clinic: Clinic) -> None:
    clinic.flash("2.8.3")
    clinic.einops()
    (clinic.folder / "flash_attn.py").write_text("raise ImportError('a source tree, without its compiled part')")
    done = clinic.fix()
    assert done.returncode == 0, done.stdout
    assert "it imports" in done.stdout
    assert clinic.run("verify", "--import-only").returncode == 0
