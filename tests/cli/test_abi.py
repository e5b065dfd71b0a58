"""`flash-doctor abi` from the shell, on extensions compiled here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from compiled import extension, references, shared
from servers import Site, serve
from shipped import validator

SCHEMA = validator("abi")
CHECK_280 = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib"
CHECK_210 = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb"
NAME = "thing-1.0-cp38-cp38-linux_x86_64.whl"


def abi(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flash_doctor", "abi", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environ},
        timeout=60,
    )


def document(*arguments: str | Path) -> dict[str, Any]:
    done = abi(*arguments, "--json")
    answer = json.loads(done.stdout)
    SCHEMA.validate(answer)
    assert (done.returncode, done.stderr) == (answer["exit_code"], "")
    return dict(answer)


def with_torch(venv: Path, *symbols: str) -> Path:
    """A venv with a torch of a few symbols: libraries, version.py, and nothing that could be imported."""
    site = next((venv / "lib").glob("python3*/site-packages"))
    lib = site / "torch" / "lib"
    lib.mkdir(parents=True)
    (site / "torch" / "__init__.py").write_text("raise SystemExit('the doctor imported torch')")
    (site / "torch" / "version.py").write_text("__version__ = '2.8.0'\ncuda = '12.8'\n")
    body = "".join(f'int f{i}(void) __asm__("{name}"); int f{i}(void) {{return 1;}}' for i, name in enumerate(symbols))
    shared(lib / "libc10_cuda.so", body, "-Wl,-soname,libc10_cuda.so")
    options = ["-Wl,--no-as-needed", f"-L{lib}", "-l:libc10_cuda.so", "-Wl,-rpath,$ORIGIN/lib"]
    shared(site / "torch" / "_C.cpython-311-x86_64-linux-gnu.so", "", *options)
    return lib


def test_the_story_of_a_file_that_is_newer_than_torch(venv: Path, tmp_path: Path) -> None:
    lib = with_torch(venv, CHECK_280)
    path = extension(tmp_path, "newer", references([CHECK_210]), "-Wl,--no-as-needed", str(lib / "libc10_cuda.so"))
    answer = document(path, "--python", venv)
    (file,) = answer["files"]
    assert (file["loads"], answer["exit_code"], answer["torch"]) == (False, 1, "2.8.0")
    assert file["torch_releases"][0] == "2.10.0"
    (symbol,) = file["unresolved"]
    assert symbol["symbol"] == CHECK_210
    assert symbol["demangled"].startswith("c10::cuda::c10_cuda_check_implementation(int, char const*")
    assert symbol["exported_by"] == file["torch_releases"]
    text = abi(path, "--python", venv)
    assert text.returncode == 1
    words = " ".join(text.stdout.split())
    assert "built for torch 2.10–2.13 or a nightly on the way to 2.10, newer than the installed 2.8.0" in words
    assert f"undefined symbol {CHECK_210}" in words


def test_a_file_that_fits(venv: Path, tmp_path: Path) -> None:
    lib = with_torch(venv, CHECK_280)
    path = extension(tmp_path, "fits", references([CHECK_280]), "-Wl,--no-as-needed", str(lib / "libc10_cuda.so"))
    answer = document(path, "--python", venv)
    (file,) = answer["files"]
    assert (file["loads"], answer["exit_code"], file["unresolved"]) == (True, 0, [])
    assert file["torch_releases"][-1] == "2.9.1"


def test_without_torch_in_the_target_nothing_is_compared(venv: Path, tmp_path: Path) -> None:
    plain = extension(tmp_path, "plain", references(["nobody_has_this"]))
    linked = extension(tmp_path, "linked", references([CHECK_280]))
    first, second = document(plain, linked, "--python", venv)["files"]
    assert (first["loads"], first["torch_releases"], first["built_for"]) == (False, None, None)
    assert (second["loads"], second["unresolved"]) == (None, [])


def packed(folder: Path) -> Path:
    """A wheel whose extension finds its library in the wheel."""
    library = shared(folder / "libinner.so", "int inner(void) { return 1; }", "-Wl,-soname,libinner.so")
    options = ["-Wl,--no-as-needed", str(library), "-Wl,-rpath,$ORIGIN/../thing.libs"]
    module = extension(folder / "built", "_C", references(["inner"]), *options)
    with zipfile.ZipFile(folder / NAME, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(module, "thing/_C.cpython-38-x86_64-linux-gnu.so")
        archive.write(library, "thing.libs/libinner.so")
        requires = "Requires-Dist: torch (==2.8.0)\nRequires-Dist: torchx\n"
        archive.writestr("thing-1.0.dist-info/METADATA", f"Name: thing\nVersion: 1.0\n{requires}")
    return folder / NAME


def test_a_wheel_is_compared_as_if_it_were_installed(venv: Path, tmp_path: Path) -> None:
    answer = document(packed(tmp_path), "--python", venv)
    module, library = answer["files"]
    assert answer["exit_code"] == 1  # for another Python
    assert [file["path"] for file in (module, library)] == [
        "thing/_C.cpython-38-x86_64-linux-gnu.so",
        "thing.libs/libinner.so",
    ]
    assert (module["loads"], module["python_abi"], module["fits_python"]) == (True, "cp38", False)
    assert library["loads"] is True


def test_a_wheel_behind_an_address(venv: Path, tmp_path: Path) -> None:
    site = Site({f"/{NAME}": packed(tmp_path).read_bytes()})
    with serve(site):
        answer = document(f"{site.url}/{NAME}", "--python", venv)
    assert len(answer["files"]) == 2
    assert isinstance(answer["bytes_read"], int)
    (wheel,) = answer["wheels"]
    assert (wheel["name"], wheel["version"], wheel["requires_torch"]) == ("thing", "1.0", ["torch (==2.8.0)"])
    assert 0 < wheel["bytes_read"] < 1_000_000
    assert wheel["inner_tags"] == {"unknown": f"{NAME} has no thing-1.0.dist-info/WHEEL"}


def test_an_installed_package(venv: Path, tmp_path: Path) -> None:
    site = next((venv / "lib").glob("python3*/site-packages"))
    with zipfile.ZipFile(packed(tmp_path)) as archive:
        archive.extractall(site)
    record = site / "thing-1.0.dist-info" / "RECORD"
    record.write_text("thing/_C.cpython-38-x86_64-linux-gnu.so,,\nthing.libs/libinner.so,,\n")
    files = document("thing", "--python", venv)["files"]
    assert [Path(file["path"]).name for file in files] == ["_C.cpython-38-x86_64-linux-gnu.so", "libinner.so"]


@pytest.mark.parametrize(
    ("subject", "word"), [("no-such-package", "no package installed"), ("/nowhere/x.so", "could not be read")]
)
def test_what_cannot_be_read_is_told(venv: Path, subject: str, word: str) -> None:
    done = abi(subject, "--python", venv)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_file_is_told(venv: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.so"
    path.write_bytes(extension(tmp_path, "whole").read_bytes()[:3000])
    done = abi(path, "--python", venv, "--json")
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (2, 2)
    assert "truncated" in json.loads(done.stdout)["error"]
