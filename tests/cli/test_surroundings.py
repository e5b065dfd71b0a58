"""`flash-doctor check` in surroundings that break programs: each time an answer in words, and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flash_doctor.__main__ import own_path
from flash_doctor.render.document import load_report
from sites import install, site_of
from trees import snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FLASH_DOCTOR = (sys.executable, "-m", "flash_doctor")


def check(
    *arguments: str | Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Without what the test's own shell says; `environ` is added."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [*FLASH_DOCTOR, "check", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**kept, "COLUMNS": "80", **(environ or {})},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert "Traceback" not in done.stderr + done.stdout
    assert "itself failed" not in done.stderr
    return done


STRANGERS = ("typing", "json", "enum", "dataclasses", "packaging", "typer", "torch", "flash_attn", "subprocess")


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """A folder of modules that are named like others and end the program."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    for name in STRANGERS:
        (folder / f"{name}.py").write_text("raise SystemExit('a stranger ran')\n")
    return folder


def test_modules_in_the_current_folder_do_not_run(venv: Path, strangers: Path) -> None:
    done = check("--python", venv, cwd=strangers)
    assert "Score: " in done.stdout
    assert done.stderr == ""


def test_modules_on_pythonpath_do_not_run(venv: Path, strangers: Path) -> None:
    done = check("--python", venv, "--json", environ={"PYTHONPATH": f"{strangers}{os.pathsep}/nowhere{os.pathsep}"})
    python = load_report(done.stdout).environment.python
    assert str(strangers) in str(python), "the target has it on its path all the same"
    assert done.stderr == ""


def test_our_own_folder_stays_on_the_path() -> None:
    path = ["/src", "/other", "", "/lib"]
    assert own_path(path, f"/other{os.pathsep}/src", "/src") == ["/src", "", "/lib"]
    assert own_path(path, "", "/src") == path


@pytest.mark.parametrize(
    "environ",
    [
        {"HOME": "/proc/nothing"},
        {"HOME": ""},
        {"HOME": "/tmp/a home with 'quotes' and spaces"},
        {"TERM": "dumb"},
        {"COLUMNS": "1"},
        {"COLUMNS": "many"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PATH": os.pathsep.join(f"/nowhere/{number}" for number in range(5000))},
        {"PATH": ""},
        {"LD_LIBRARY_PATH": ":::/nowhere:relative:/proc/self/fd"},
        {"CUDA_VISIBLE_DEVICES": "x" * 10000, "CUDA_HOME": "/nowhere", "TMPDIR": "/nowhere"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_strange_variables_do_not_matter(venv: Path, environ: dict[str, str]) -> None:
    done = check("--python", venv, environ=environ)
    assert done.returncode == 1, done.stderr  # there is no torch
    assert "T501" in done.stdout


def test_a_folder_that_was_deleted_under_us(venv: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'rmdir "{gone}" && exec "$@"'
    command = ["sh", "-c", script, "sh", *FLASH_DOCTOR, "check", "--python", str(venv)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=gone, timeout=60)
    assert "T501" in done.stdout
    assert done.stderr == ""


def test_machine_alone_needs_no_python() -> None:
    done = check("--host-only", "--json", environ={"VIRTUAL_ENV": "/nowhere"})
    assert done.returncode in {0, 1}
    assert "no Python is looked at" in load_report(done.stdout).target.why
    assert check("--json", environ={"VIRTUAL_ENV": "/nowhere"}).returncode == 2


def test_ten_thousand_distributions(venv: Path) -> None:
    site = site_of(venv)
    for number in range(10_000):
        folder = site / f"p{number}-1.0.dist-info"
        folder.mkdir()
        text = f"Metadata-Version: 2.1\nName: p{number}\nVersion: 1.0\nRequires-Dist: p{(number + 1) % 10_000}>=1\n"
        (folder / "METADATA").write_text(text)
    done = check("--python", venv)
    assert "T501" in done.stdout
    assert "C710" not in done.stdout


def test_damaged_metadata_is_told_and_nothing_is_written(venv: Path) -> None:
    site = site_of(venv)
    for name, data in {
        "latin": b"Name: latin\nVersion: 1\nSummary: \xe9\xff\nRequires-Dist: \xff\xfe\n",
        "nothing": b"",
        "zeros": b"\0" * 100,
        "endless": b"Name: endless\nVersion: " + b"9" * 5000 + b"\n",
    }.items():
        (site / f"{name}-1.dist-info").mkdir()
        (site / f"{name}-1.dist-info" / "METADATA").write_bytes(data)
    (site / "fifo-1.dist-info").mkdir()
    os.mkfifo(site / "fifo-1.dist-info" / "METADATA")
    (site / "folder-1.dist-info" / "METADATA").mkdir(parents=True)
    before = set(venv.rglob("*"))
    done = check("--python", venv)
    assert set(venv.rglob("*")) == before
    assert "4 metadata folders cannot be read" in done.stdout
    for name in ("nothing", "zeros", "fifo", "folder"):
        assert f"{name}-1.dist-info" in done.stdout


def test_files_without_an_end_and_pipes_without_a_writer_are_passed_over(venv: Path) -> None:
    site = site_of(venv)
    files = {"torch/__init__.py": "", "torch/version.py": "__version__ = '2.8.0'\n", "torch/lib/libc10.so": ""}
    record = install(site, "torch", "2.8.0", files=files) / "RECORD"
    rows = "/dev/zero,sha256=uU0nuZNNPgilLlLX2n2r-sSE7-N6U4DukIj3rOLvzek,\npipe.so,sha256=uU0n,\n"
    record.write_text(record.read_text() + rows)
    install(site, "flash-attn", "2.8.3", files={"flash_attn/__init__.py": "__version__ = '2.8.3'\n"})
    for pipe in ("pipe.so", "flash_attn_2_cuda.abi3.so", "flash_attn.py", "torch/lib/libtorch_cuda.so"):
        os.mkfifo(site / pipe)
    done = check("--python", venv, "--deep", "--json", environ={"PIP_CONFIG_FILE": "/dev/zero"})
    environment = load_report(done.stdout).environment
    assert "2.8.0" in str(environment.torch)
    assert "/dev/zero cannot be read: it is no regular file" in str(environment.indexes)


@pytest.mark.parametrize("file", ["torch/version.py", "torch/lib/libc10.so", "torch-2.8.0.dist-info/RECORD"])
@pytest.mark.parametrize("endless", [False, True], ids=["pipe", "zero"])
def test_a_part_of_torch_is_no_file(venv: Path, file: str, endless: bool) -> None:
    site = site_of(venv)
    files = {"torch/__init__.py": "", "torch/version.py": "__version__ = '2.8.0'\n", "torch/lib/libc10.so": ""}
    install(site, "torch", "2.8.0", files=files)
    (site / file).unlink()
    if endless:
        (site / file).symlink_to("/dev/zero")
    else:
        os.mkfifo(site / file)
    assert "Target: " in check("--python", venv).stdout


def test_direct_urls_of_all_kinds(venv: Path) -> None:
    texts = ("", "[]", "null", '{"url": 5}', "[" * 30_000, '{"url": "file://[", "dir_info": {"editable": true}}')
    for number, text in enumerate(texts):
        install(site_of(venv), f"p{number}", "1", info={"direct_url.json": text})
    assert "T501" in check("--python", venv).stdout


@pytest.mark.parametrize("python", ["x" * 5000, "y" * 300 + "/bin/python", "a\nb", "-"])
def test_names_that_no_file_can_have(python: str) -> None:
    done = check(f"--python={python}", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_code"] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "-r", "/dev/zero"),
        ("abi", "http://["),
        ("abi", "x" * 5000),
        ("plan", "--offline", "--torch", "2.8.0", "--gpu", "H100x99999999999"),
        ("plan", "--offline", "--torch", "2.8.0", "--gpu", "sm_" + "9" * 5000),
        ("plan", "--offline", "--torch", "2.8.0", "--driver", "9" * 5000),
    ],
    ids=lambda arguments: " ".join(arguments)[:50],
)
def test_what_is_given_is_too_long_or_no_such_thing(venv: Path, arguments: tuple[str, ...]) -> None:
    target = () if arguments[0] == "plan" else ("--python", str(venv))
    command = [sys.executable, "-m", "flash_doctor", *arguments, "--json", *target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stdout[:300]
    assert json.loads(done.stdout)["schema"] == "flash-doctor/error/1"
    assert len(done.stdout) < 10_000


def test_nothing_of_the_target_changes(venv: Path) -> None:
    install(site_of(venv), "numpy", "2.0", files={"numpy/__init__.py": "", "numpy/core.py": "x = 1\n"})
    before = snapshot(venv)
    check("--python", venv)
    check("--python", venv, "--deep", "--json")
    assert snapshot(venv) == before


CAPLESS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")


def closed(venv: Path, *places: Path) -> subprocess.CompletedProcess[str]:
    """`check` by somebody who may not look at `places`; root, who may look everywhere, gives that right up."""
    for place in places:
        place.chmod(0)
    try:
        command = [*FLASH_DOCTOR, "check", "--python", str(venv)]
        done = subprocess.run(
            [*(CAPLESS if os.geteuid() == 0 else ()), *command], capture_output=True, text=True, timeout=60
        )
    finally:
        for place in places:
            place.chmod(0o755)
    assert "Traceback" not in done.stderr + done.stdout
    return done


class TestWhatMayNotBeLookedAt:
    """It is told as such: never as broken, never as healthy, and never with advice to delete it."""

    @pytest.fixture
    def site(self, venv: Path) -> Path:
        site = site_of(venv)
        files = {"torch/__init__.py": "", "torch/version.py": "__version__ = '2.8.0'\n", "torch/lib/libc10.so": ""}
        install(site, "torch", "2.8.0", files=files)
        install(site, "numpy", "2.0")
        return site

    def test_metadata(self, venv: Path, site: Path) -> None:
        done = closed(venv, site / "numpy-2.0.dist-info")
        assert "P402" in done.stdout
        assert "Permission denied" in done.stdout
        assert "rm -r" not in done.stdout

    def test_folder_of_torch(self, venv: Path, site: Path) -> None:
        done = closed(venv, site / "torch")
        assert done.returncode == 0, done.stdout
        assert "T505" in done.stdout.partition("could not be made")[2]
        assert "damaged" not in done.stdout
        assert "No problem found, but" in done.stdout

    def test_site_packages(self, venv: Path, site: Path) -> None:
        done = closed(venv, site)
        assert done.returncode == 0, done.stdout
        assert "rm -r" not in done.stdout
        assert "cannot be listed" in " ".join(done.stdout.split())

    def test_the_environment(self, venv: Path) -> None:
        done = closed(venv, venv)
        assert done.returncode == 2
        assert "not readable for this user" in done.stderr

    def test_a_closed_folder_on_pythonpath_is_none_for_imports_either(
        self, venv: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "secret").mkdir()
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "secret"))
        done = closed(venv, tmp_path / "secret")
        assert "secret" not in done.stdout
        assert "2.8.0" in done.stdout
