"""`plan --format script`, run for real: dash and bash, an https server, files that are not what was promised."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from authority import NETWORK, Authority
from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.model import Goal
from flash_doctor.model.plan import Build, Consultation, Install, Knowledge, Plan, Remove, Step
from flash_doctor.model.wheel import HashState
from flash_doctor.render.plan_files import requirements, script
from flash_doctor.system.requirement import valid_name
from servers import Site, serve
from sites import site_of
from trees import snapshot
from wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = {Path(found).resolve().name: found for shell in ("dash", "bash", "sh") if (found := shutil.which(shell))}


def consultation(*steps: Step, because: str = "it is needed", machine: str = "a machine") -> Consultation:
    return Consultation(
        answer=Plan(goal=Goal(), steps=steps, because=(because,)),
        machine=machine,
        command=("flash-doctor", "plan"),
        knowledge=Knowledge(shipped="2026-11-20"),
        now={},
    )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def with_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("with-pip") / "a venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@dataclass
class Place:
    """A folder with wheels on an https server, and an environment that a script changes."""

    folder: Path
    venv: Path
    ca: Authority
    site: Site

    @property
    def packages(self) -> Path:
        return site_of(self.venv)

    def wheel(self, name: str, version: str = "1.0", *, inside: str | None = None) -> Path:
        files = {f"{name.replace('-', '_')}.py": f"version = {version!r}\n"}
        wheel = build_wheel(self.folder / "wheels", name, version, files, metadata_version=inside)
        self.site.files[f"/{wheel.name.replace('+', '%2B')}"] = wheel.read_bytes()
        return wheel

    def step(self, name: str, version: str = "1.0", *, inside: str | None = None, **more: Any) -> Install:
        wheel = self.wheel(name, version, inside=inside)
        step = Install(
            name=valid_name(name),
            requirement=f"{name}=={version}",
            because="it is needed",
            version=Version(version),
            url=f"{self.site.url}/{wheel.name.replace('+', '%2B')}",
            sha256=sha256(wheel),
            hash_state=HashState.PUBLISHED,
        )
        return replace(step, **more)

    def run(self, text: str, shell: str = "sh", **environ: str) -> subprocess.CompletedProcess[str]:
        """In a folder of traps: what a shell or Python would take from the current folder leaves `pwn`."""
        here = self.folder / "here"
        here.mkdir(exist_ok=True)
        trap = "import pathlib\npathlib.Path(__file__).with_name('pwn').touch()\n"
        for name in ("pip.py", "sitecustomize.py", "setuptools.py"):
            (here / name).write_text(trap)
        scratch = self.folder / "tmp 'a $(touch pwn)"
        scratch.mkdir(exist_ok=True)
        (self.folder / "plan.sh").write_text(text)
        kept = {name: value for name, value in os.environ.items() if name not in NETWORK and "PIP" not in name}
        done = subprocess.run(
            [shell, self.folder / "plan.sh"],
            capture_output=True,
            text=True,
            cwd=here,
            env={
                **kept,
                "PYTHON": str(self.venv / "bin" / "python"),
                "TMPDIR": str(scratch),
                "CURL_CA_BUNDLE": str(self.ca.bundle),
                "HOME": str(self.folder),
                **environ,
            },
        )
        assert not list(scratch.iterdir())
        assert not list(self.folder.rglob("pwn*"))
        assert not list(self.venv.rglob("pwn*"))
        return done


@pytest.fixture
def place(tmp_path: Path, with_pip: Path, ca: Authority) -> Iterator[Place]:
    venv = tmp_path / "a venv"
    shutil.copytree(with_pip, venv, symlinks=True)
    with serve(Site(), tls=ca.good) as site:
        yield Place(folder=tmp_path, venv=venv, ca=ca, site=site)


@pytest.mark.parametrize("shell", SHELLS)
def test_an_honest_plan_is_done(place: Place, shell: str) -> None:
    old = place.wheel("gone")
    pip = [place.venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index"]
    subprocess.run([*map(str, pip), str(old)], check=True)
    steps = (
        Remove(name=valid_name("gone"), because="it is in the way"),
        place.step("einops", "0.8"),
        # its local tag stands in the name of the file alone, as in wheels of flash-attn
        place.step("flash-attn", "2.8.3+cu12torch2.8", inside="2.8.3"),
    )
    done = place.run(script(consultation(*steps)), shell)
    assert (done.returncode, done.stderr) == (0, "")
    names = {path.name for path in place.packages.iterdir()}
    assert {"einops.py", "flash_attn.py", "einops-0.8.dist-info", "flash_attn-2.8.3.dist-info"} <= names
    assert not any(name.startswith("gone") for name in names)


def test_a_broken_install_of_the_same_version_is_put_right(place: Place) -> None:
    text = script(consultation(place.step("einops")))
    assert place.run(text).returncode == 0
    (place.packages / "einops.py").unlink()
    assert place.run(text).returncode == 0
    assert (place.packages / "einops.py").exists()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("which", [0, 1])
def test_another_file_than_promised_changes_nothing(place: Place, shell: str, which: int) -> None:
    text = script(consultation(place.step("einops"), place.step("rotary")))
    path = sorted(place.site.files)[which]
    place.site.files[path] = build_wheel(place.folder / "evil", path[1:7], "1.0", {"evil.py": ""}).read_bytes()
    before = snapshot(place.venv)
    done = place.run(text, shell)
    assert done.returncode == 1
    assert "is another file than was promised" in done.stderr
    assert "Nothing was changed." in done.stderr
    assert snapshot(place.venv) == before


@pytest.mark.parametrize("shell", SHELLS)
def test_a_file_that_nobody_vouches_for_needs_a_word(place: Place, shell: str) -> None:
    step = place.step("einops", hash_state=HashState.FIRST_SEEN)
    genuine = step.sha256
    assert genuine is not None
    text = script(consultation(place.step("rotary"), replace(step, sha256=None)))
    before = snapshot(place.venv)
    for given in ({}, {"SHA256_2": ""}):
        done = place.run(text, shell, **given)
        assert done.returncode == 1
        assert "Nobody publishes a sha256 of einops-1.0-py3-none-any.whl" in done.stderr
        assert "SHA256_2=HASH sh" in done.stderr
        assert place.site.requests == []
    for wrong in ("0" * 64, "'; touch pwn; '", "$(touch pwn)", genuine[:-1], f"{genuine}\n{genuine}", "-c"):
        assert place.run(text, shell, SHA256_2=wrong).returncode == 1
    assert snapshot(place.venv) == before
    done = place.run(text, shell, SHA256_2=genuine)
    assert (done.returncode, done.stderr) == (0, "")
    assert (place.packages / "einops.py").exists()


def test_what_no_index_has_chosen_stops_it(place: Place) -> None:
    step = place.step("einops", url=None, sha256=None)
    before = snapshot(place.venv)
    done = place.run(script(consultation(place.step("rotary"), step)))
    assert done.returncode == 1
    assert "einops has no file yet" in done.stderr
    assert "without --offline" in done.stderr
    assert (place.site.requests, snapshot(place.venv)) == ([], before)


def test_a_redirection_to_plain_http_is_not_followed(place: Place) -> None:
    step = place.step("einops")
    (path,) = place.site.files
    with serve(Site(files=dict(place.site.files))) as plain:
        place.site.redirects[path] = plain.url + path
        done = place.run(script(consultation(step)))
        assert done.returncode == 1
        assert "could not be fetched" in done.stderr
        assert plain.requests == []


def test_a_redirection_to_https_is_followed(place: Place) -> None:
    step = place.step("einops")
    (path,) = place.site.files
    with serve(Site(files=dict(place.site.files)), tls=place.ca.good) as other:
        place.site.redirects[path] = other.url + path
        assert place.run(script(consultation(step))).returncode == 0


def test_a_server_that_is_not_who_it_says_is_not_asked(place: Place) -> None:
    step = place.step("einops")
    stranger = Authority(place.folder)
    done = place.run(script(consultation(step)), CURL_CA_BUNDLE=str(stranger.bundle))
    assert (done.returncode, place.site.requests) == (1, [])


def test_a_file_of_this_disk_in_a_folder_of_any_name(place: Place) -> None:
    folder = place.folder / "-a 'b' $(touch pwn) %41 ü"
    wheel = build_wheel(folder, "einops", "1.0", {"einops.py": ""})
    step = place.step("einops", url=wheel.as_uri(), sha256=sha256(wheel))
    done = place.run(script(consultation(step)))
    assert (done.returncode, done.stderr) == (0, "")
    wheel.write_bytes(b"another")
    assert place.run(script(consultation(step))).returncode == 1


def test_an_environment_without_pip_is_told(place: Place) -> None:
    shutil.rmtree(place.packages / "pip")
    done = place.run(script(consultation(place.step("einops"))))
    assert done.returncode == 1
    assert "has no pip" in done.stderr
    assert place.site.requests == []


BACKEND = """
import os, zipfile
def build_wheel(folder, settings=None, metadata=None):
    import needed
    name = "flash_attn-2.8.3-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        archive.writestr("built.txt", "|".join((os.environ["MAX_JOBS"], os.environ["ARCHS"], needed.version)))
        info = "flash_attn-2.8.3.dist-info/"
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: flash-attn\\nVersion: 2.8.3\\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "RECORD", "")
    return name
"""


def source(place: Place) -> Path:
    """A source distribution that brings its own build backend."""
    path = place.folder / "flash_attn-2.8.3.tar.gz"
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    info = "Metadata-Version: 2.1\nName: flash-attn\nVersion: 2.8.3\n"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (("pyproject.toml", project), ("backend.py", BACKEND), ("PKG-INFO", info)):
            entry = tarfile.TarInfo(f"flash_attn-2.8.3/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    place.site.files[f"/{path.name}"] = path.read_bytes()
    return path


def building(place: Place, **more: Any) -> Build:
    path = source(place)
    step = Build(
        name=valid_name("flash-attn"),
        requirement="flash-attn==2.8.3",
        because="there is no wheel",
        settings=(("MAX_JOBS", "2"), ("ARCHS", "9.0;10.0 '$(touch pwn)'")),
        jobs=2,
        minutes=1,
        memory=1,
        url=f"{place.site.url}/{path.name}",
        sha256=sha256(path),
        needs=(place.step("needed", "7"),),
    )
    return replace(step, **more)


def test_a_source_is_held_to_its_hash_and_built_with_what_it_needs(place: Place) -> None:
    done = place.run(script(consultation(building(place))))
    assert (done.returncode, done.stderr) == (0, "")
    assert (place.packages / "built.txt").read_text() == "2|9.0;10.0 '$(touch pwn)'|7"
    assert not (place.packages / "needed.py").exists()
    before = snapshot(place.venv)
    place.site.files["/flash_attn-2.8.3.tar.gz"] += b"\0"
    assert place.run(script(consultation(building(place, sha256="0" * 64)))).returncode == 1
    assert place.run(script(consultation(building(place, sha256=None)))).returncode == 1
    assert snapshot(place.venv) == before


HOSTILE = [
    "$(touch${IFS}pwn)",
    "`touch pwn`",
    ";touch pwn|touch pwn2&&touch pwn3",
    "\ntouch pwn\n",
    "'\";touch pwn;'\"",
    "!~%s\\{a,b}[1-9]${HOME}‘touch pwn’",
    " -rf \x1b[31m\r",
]


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_word_of_a_strangers_plan_is_run(place: Place, evil: str) -> None:
    """In every place of a plan; a script is refused, or runs none of them. Python is a stand-in, the rest is real."""
    step, build, stand_in = place.step("einops"), building(place), place.folder / "python"
    stand_in.write_text("#!/bin/sh\n")
    stand_in.chmod(0o755)
    address = f"{place.site.url}/{evil}/einops-1.0-py3-none-any.whl"
    plans: list[tuple[Step, ...]] = [
        (replace(step, name=NormalizedName(f"einops{evil}")),),
        (replace(step, url=address),),
        (replace(step, url=f"{place.site.url}/einops-1.0-py3-none-any{evil}.whl"),),
        (replace(step, url=f"https://127.0.0.1{evil}/einops-1.0-py3-none-any.whl"),),
        (replace(step, sha256=evil),),
        (replace(step, sha256=None, url=address),),
        (replace(step, url=None, name=NormalizedName(f"einops{evil}")),),
        (replace(step, requirement=f"einops=={evil}"),),
        (Remove(name=valid_name("einops"), because=evil),),
        (Remove(name=NormalizedName(f"einops{evil}"), because="x"),),
        (replace(build, settings=((f"A{evil}", "1"),)),),
        (replace(build, settings=(("A", evil), ("MAX_JOBS", evil), ("ARCHS", evil))),),
        (replace(step, because=evil), replace(build, because=evil)),
    ]
    for steps in plans:
        try:
            text = script(consultation(*steps, because=evil, machine=evil))
        except (BadInput, NoPlanFound):
            continue
        subprocess.run(["dash", "-n"], input=text, text=True, check=True)
        place.run(text, PYTHON=str(stand_in))


def test_the_current_folder_and_the_configuration_have_no_say(place: Place) -> None:
    """pip.py of the current folder (see Place.run), and a pip.conf that names another index."""
    (place.folder / ".config" / "pip").mkdir(parents=True)
    (place.folder / ".config" / "pip" / "pip.conf").write_text("[install]\ntarget = /nonexistent/x\n")
    done = place.run(script(consultation(place.step("einops"))), PYTHONPATH=".", PIP_TARGET="/nonexistent/y")
    assert (done.returncode, done.stderr) == (0, "")
    assert (place.packages / "einops.py").exists()


def pip_reads(place: Place, text: str, **environ: str) -> subprocess.CompletedProcess[str]:
    file = place.folder / "requirements.txt"
    file.write_text(text)
    argv = [place.venv / "bin" / "python", "-I", "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
    kept = {name: value for name, value in os.environ.items() if name not in NETWORK and "PIP" not in name}
    return subprocess.run(
        [*map(str, argv), "--no-index", *map(str, ("--find-links", place.folder / "wheels", "-r", file))],
        capture_output=True,
        text=True,
        env={**kept, "PIP_CERT": str(place.ca.bundle), **environ},
    )


def test_a_requirements_file_installs_what_has_a_hash(place: Place) -> None:
    done = pip_reads(place, requirements(consultation(place.step("einops"), place.step("rotary"))))
    assert done.returncode == 0, done.stderr
    assert (place.packages / "rotary.py").exists()


@pytest.mark.parametrize("left", [{"sha256": None}, {"sha256": None, "url": None}, {"sha256": "x"}])
def test_a_requirements_file_is_refused_whole_while_a_line_has_no_hash(place: Place, left: dict[str, Any]) -> None:
    before = snapshot(place.venv)
    text = requirements(consultation(place.step("rotary"), place.step("einops", **left)))
    done = pip_reads(place, text)
    assert done.returncode == 1
    assert "hash" in done.stderr.lower()
    assert snapshot(place.venv) == before
    assert "# NO HASH, so pip refuses this file" in text


def test_no_variable_is_put_into_an_address_of_a_requirements_file(place: Place) -> None:
    """pip would send it to whoever wrote the plan."""
    step = place.step("einops", url=f"{place.site.url}/${{HF_TOKEN}}/einops-1.0-py3-none-any.whl")
    pip_reads(place, requirements(consultation(step)), HF_TOKEN="hf_secret")
    assert place.site.requests
    assert not any("hf_secret" in path for path, _ in place.site.requests)


def test_all_recorded_plans_pass_shellcheck(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ward import names, patient

    from flash_doctor.cli.app import main
    from flash_doctor.cli.errors import run
    from flash_doctor.diagnose import diagnose
    from flash_doctor.render.document import report_document, to_json
    from seats import facts

    scripts: dict[str, Path] = {}  # by what they do: many machines get the same
    for name in names():
        one, report, made = patient(name), tmp_path / "report.json", tmp_path / f"{name}.sh"
        report.write_text(to_json(report_document(diagnose(one.target, one.environment, facts()), 0)))
        words = ["plan", "--offline", "--for", str(report), "--format", "script", "--output", str(made)]
        run(lambda words=words: main(words), words)  # type: ignore[misc]
        if made.exists():
            body = "".join(line for line in made.read_text().splitlines(keepends=True) if not line.startswith("#"))
            scripts.setdefault(body, made)
    capsys.readouterr()
    assert len(scripts) > 5
    for shell in SHELLS:
        for made in scripts.values():
            subprocess.run([shell, "-n", made], check=True)
    checker = Path(sys.executable).with_name("shellcheck")
    if checker.exists():
        subprocess.run([str(checker), *map(str, scripts.values())], check=True)
