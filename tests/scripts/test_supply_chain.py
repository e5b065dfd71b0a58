"""The locks against pyproject.toml, the bill of materials, the audit, and the package that hatchling builds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from sites import site_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "scripts" / "locks").glob("*.txt"))


def script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", str(ROOT / "scripts" / "dev" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the locks are about."""
    shutil.copytree(ROOT / "scripts" / "locks", tmp_path / "scripts" / "locks")
    shutil.copy2(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_the_locks_hold_what_pyproject_asks_for(checkout: Path) -> None:
    done = script("lock", "--check", "--root", checkout)
    assert (done.returncode, done.stderr) == (0, "")


def replaced(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / file
        text = path.read_text()
        assert re.search(old, text), f"{file} has no {old}"
        path.write_text(re.sub(old, new, text, count=1))

    return change


def written(file: str, content: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / file).write_bytes(content)

    return change


TABLE, RUN, TEST, PIP = "pyproject.toml", "scripts/locks/run.txt", "scripts/locks/test.txt", "scripts/locks/pip.txt"
HASH = r" \\\n    --hash=sha256:[0-9a-f]{64}"
DISAGREEMENTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a dependency that is new": (
        replaced(TABLE, r"dependencies = \[", 'dependencies = [\n  "stranger>=1",'),
        r"run.txt: pyproject.toml asks for stranger>=1, and it is not there",
    ),
    "a dependency that is gone": (
        replaced(TABLE, r'  "psutil>=.*\n', ""),
        r"run.txt: psutil==\S+ is there for pyproject.toml, which does not ask for it",
    ),
    "a newer one is asked for": (
        replaced(TABLE, r'"rich>=[\d.]+"', '"rich>=9999"'),
        r"run.txt: pyproject.toml asks for rich>=9999, and rich==\S+ is there",
    ),
    "a new one for the tests": (
        replaced(TABLE, r"\ntest = \[", '\ntest = [\n  "stranger",'),
        r"dev.txt: pyproject.toml asks for stranger, and it is not there",
    ),
    "an extra without a lock": (
        replaced(TABLE, r"\nparquet = ", '\nmore = ["pyarrow"]\nparquet = '),
        r"more.txt: .*No such file",
    ),
    "a lock without an extra": (
        written("scripts/locks/old.txt", b""),
        r"old.txt: not a lock that pyproject.toml asks for",
    ),
    "another build backend": (
        replaced(TABLE, r'requires = \["hatchling>=[\d.]+"', 'requires = ["hatchling>=999"'),
        r"\[build-system\] requires hatchling>=999",
    ),
    "another oldest Python": (
        replaced(TABLE, r'requires-python = ">=3.10"', 'requires-python = ">=3.12"'),
        r"run.txt: it was not made by scripts/dev/lock \(Python >=3.12\)",
    ),
    "a pin without hash": (replaced(RUN, rf"(rich==\S+)(?:{HASH})+", r"\1"), r"run.txt: rich==\S+ has no hash"),
    "another hash in one lock": (
        replaced(TEST, r"(rich==\S+ \\\n    --hash=sha256:)[0-9a-f]{64}", r"\g<1>" + "0" * 64),
        r"test.txt: rich==\S+ is not what dev.txt holds",
    ),
    "another version in one lock": (
        replaced(RUN, r"idna==[\d.]+", "idna==2.0"),
        r"run.txt: idna==2.0 is not what dev.txt holds",
    ),
    "no single version": (replaced(RUN, r"rich==", "rich>="), r"run.txt: rich>=\S+ is no single version"),
    "every patch of a version": (replaced(RUN, r"rich==\S+", "rich==15.*"), r"run.txt: rich==15\.\* is no single"),
    "an index": (replaced(RUN, r"\n(rich==)", r"\n--index-url https://a.example\n\1"), r"run.txt: .*no such line"),
    "an index below a pin": (replaced(RUN, r"(\n    --hash)", r"\n    --index-url x\1"), r"run.txt: .*no such line"),
    "an address": (replaced(RUN, r"rich==\S+", "rich @ https://a.example/rich.whl"), r"run.txt: .*no such line"),
    "an address in a comment": (replaced(RUN, "# via", "# via https://a.example"), r"run.txt: it names an address"),
    "another algorithm": (replaced(RUN, "--hash=sha256:", "--hash=md5:"), r"run.txt: .*no such line: --hash=md5"),
    "an editable": (replaced(RUN, r"\n(rich==)", r"\n-e .\n\1"), r"run.txt: .*no such line: -e"),
    "another lock in a lock": (replaced(RUN, r"\n(rich==)", r"\n-r more.txt\n\1"), r"run.txt: .*no such line: -r"),
    "an older pip": (replaced(PIP, r"pip==\S+", "pip==23.2.1"), r"pip.txt: it is to hold pip>=\d+ and nothing else"),
    "more than pip": (replaced(PIP, r"\Z", "rich==1.0\n"), r"pip.txt: it is to hold pip>=\d+ and nothing else"),
    "an empty lock": (written(RUN, b""), r"run.txt: pyproject.toml asks for rich\S+, and it is not there"),
    "no text": (written(RUN, b"\xff\xfe"), r"run.txt: .*codec"),
}


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_each_disagreement_is_told_without_network(checkout: Path, name: str) -> None:
    change, expected = DISAGREEMENTS[name]
    change(checkout)
    done = script("lock", "--check", "--root", checkout)
    assert done.returncode == 1
    assert re.search(expected, done.stderr), done.stderr
    assert done.stderr.endswith("lock: what to do: scripts/dev/lock\n")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_address_and_no_folder_of_its_maker(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"://|index-url|find-links|trusted-host|/home/|/root|/tmp|/work", text)
    assert text.count("--hash=sha256:") >= len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) > 0


@pytest.mark.index
def test_to_lock_again_changes_nothing_and_to_lock_from_nothing_is_whole(checkout: Path) -> None:
    folder = checkout / "scripts" / "locks"
    (folder / "run.txt").unlink()
    first = script("lock", "--root", checkout)
    assert first.returncode == 0, first.stderr
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = script("lock", "--root", checkout)
    assert again.returncode == 0, again.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made
    assert made.keys() == {path.name for path in LOCKS}


needs_dev = pytest.mark.skipif(
    not (Path(sys.executable).parent / "pip-audit").exists(), reason="it needs what scripts/dev/check installs"
)


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    done = script("sbom")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@needs_dev
def test_the_bill_of_materials_is_the_same_each_time_and_valid(tmp_path: Path, bill: dict[str, Any]) -> None:
    """That it is valid by CycloneDX's schema, the script itself demands."""
    done = script("sbom", "--output", tmp_path / "bill.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "bill.json").read_text()) == bill
    assert (bill["bomFormat"], bill["version"]) == ("CycloneDX", 1)
    assert "timestamp" not in bill["metadata"]


@needs_dev
def test_the_bill_holds_each_pin_with_its_hashes_and_the_facts(bill: dict[str, Any]) -> None:
    text = (ROOT / RUN).read_text()
    pins = re.findall(r"^([a-z0-9.-]+)==([^ ]+)((?:[^\n]*\\\n    --hash=sha256:[0-9a-f]{64})+)", text, re.MULTILINE)
    listed = {
        (part["name"], part["version"]): {one["content"] for one in part["hashes"]}
        for part in bill["components"]
        if part["type"] == "library"
    }
    assert listed == {(name, version): set(re.findall(r"[0-9a-f]{64}", rest)) for name, version, rest in pins}
    [facts] = [part for part in bill["components"] if part["type"] == "data"]
    folder = ROOT / "wheel_matrix"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sums = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True).stdout
    whole = subprocess.run(["sha256sum"], input=sums, capture_output=True, check=True).stdout.decode().split()[0]
    assert facts["hashes"] == [{"alg": "SHA-256", "content": whole}]
    assert bill["metadata"]["component"]["name"] == "flash-doctor"


@needs_dev
def test_the_bill_says_what_runs_what_only_builds_and_who_needs_whom(bill: dict[str, Any]) -> None:
    scope = {part["name"]: part.get("scope") for part in bill["components"]}
    assert (scope["rich"], scope["markdown-it-py"], scope["hatchling"]) == ("required", "required", "excluded")
    needs = {row["ref"]: row.get("dependsOn", []) for row in bill["dependencies"]}
    assert any("markdown-it-py" in ref for name, refs in needs.items() if "/rich@" in name for ref in refs)
    assert any("/rich@" in ref for ref in needs["flash-doctor"])
    assert "wheel_matrix" in needs["flash-doctor"]
    licensed = [part for part in bill["components"] if part.get("licenses")]
    assert len(licensed) > len(bill["components"]) / 2


class _Vulnerabilities(BaseHTTPRequestHandler):
    """A service in OSV's words: `known` has a package's vulnerabilities; `status` refuses."""

    known: ClassVar[dict[str, list[dict[str, Any]]]]
    status: ClassVar[int]
    asked: ClassVar[list[str]]

    def do_POST(self) -> None:
        package = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        self.asked.append(package)
        body = json.dumps({"vulns": self.known[package]} if package in self.known else {}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def vulnerabilities(known: dict[str, list[str]], status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """The address of such a service, and the packages that it was asked about."""
    rows = {name: [{"id": one, "summary": "x", "affected": []} for one in ids] for name, ids in known.items()}
    handler = type("Handler", (_Vulnerabilities,), {"known": rows, "status": status, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/query", handler.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


def audited(tmp_path: Path, address: str, ignore: str = "") -> subprocess.CompletedProcess[str]:
    lock = tmp_path / "run.txt"
    lock.write_text("".join(f"{name}==1.0 --hash=sha256:{'0' * 64}\n" for name in ("honest", "sick")))
    table = tmp_path / "pyproject.toml"
    table.write_text(f"[tool.audit.ignore]\n{ignore}\n")
    return script("audit", "--lock", lock, "--pyproject", table, "--osv-url", address)


@needs_dev
def test_an_audit_that_finds_nothing_passes(tmp_path: Path) -> None:
    with vulnerabilities({}) as (address, asked):
        done = audited(tmp_path, address)
    assert (done.returncode, done.stdout) == (0, "audit: 2 packages of the lock, 0 known vulnerabilities\n"), (
        done.stderr
    )
    assert sorted(asked) == ["honest", "sick"]


@needs_dev
def test_an_audit_that_finds_something_fails_unless_it_is_ignored_with_a_reason(tmp_path: Path) -> None:
    with vulnerabilities({"sick": ["GHSA-1", "GHSA-2"]}) as (address, _):
        both = audited(tmp_path, address)
        one = audited(tmp_path, address, 'GHSA-1 = "on another system"')
        none = audited(tmp_path, address, 'GHSA-1 = "on another system"\nGHSA-2 = "not called"')
    assert (both.returncode, one.returncode, none.returncode) == (1, 1, 0), both.stderr
    assert both.stdout.startswith("audit: VULNERABLE sick 1.0: GHSA-1 (not mended yet)\n")
    assert "GHSA-2" in one.stdout.splitlines()[0]
    assert "GHSA-1 (not mended yet): ignored, on another system" in none.stdout


@needs_dev
@pytest.mark.parametrize("status", [404, 500, None], ids=["refuses", "fails", "is not there"])
def test_an_audit_that_cannot_be_made_says_so_in_one_line_and_passes(tmp_path: Path, status: int | None) -> None:
    with vulnerabilities({"sick": ["GHSA-1"]}, status or 200) as (address, _):
        done = audited(tmp_path, address if status else "http://127.0.0.1:1/query")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("audit: not made")


def test_the_package_is_built_offline_by_the_locked_backend_and_installs(tmp_path: Path, venv: Path) -> None:
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    for name in ("src", "wheel_matrix", "scripts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "SECURITY.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    built.mkdir()
    code = "import sys, hatchling.build as b; b.build_sdist(sys.argv[1]), b.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-I", "-c", code, str(built)], cwd=source, check=True, capture_output=True)
    [sdist], [wheel] = built.glob("*.tar.gz"), built.glob("*.whl")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"SECURITY.md", "README.md", "LICENSE", "pyproject.toml", "wheel_matrix/torch.toml", RUN}
    assert wanted <= packed
    with zipfile.ZipFile(wheel) as archive_of_wheel:
        [metadata] = [name for name in archive_of_wheel.namelist() if name.endswith(".dist-info/METADATA")]
        assert "set-up" not in archive_of_wheel.read(metadata).decode()

    argv = [sys.executable, "-I", "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "--quiet"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    offline = ["--no-index", "--no-deps", "--no-compile", str(wheel)]
    subprocess.run([*argv, *offline], check=True, env={**environment, "PIP_CONFIG_FILE": os.devnull})
    installed = site_of(venv) / "flash_doctor"
    assert (installed / "wheel_matrix" / "torch.toml").read_bytes() == (ROOT / "wheel_matrix/torch.toml").read_bytes()
