"""The bootstrap and its hashed locks: what an index, a setting, a folder or another user could put in its way."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servers import Site, serve
from small_checkout import SmallCheckout

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = "ran with one\n"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun") / "venv"
    subprocess.run([sys.executable, "-I", "-m", "venv", str(folder)], check=True)
    (folder / "set-up.lock").touch()
    return folder


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[SmallCheckout]:
    with serve(Site()) as index:
        yield SmallCheckout.make(tmp_path / "a checkout", index)


@pytest.fixture
def small(fresh: SmallCheckout, begun: Path) -> SmallCheckout:
    fresh.begin(begun)
    return fresh


def asked(small: SmallCheckout) -> set[str]:
    return {path for path, _ in small.index.requests}


def test_what_the_lock_names_is_installed_and_nothing_else_is_asked_for(small: SmallCheckout) -> None:
    done = small.run()
    assert done.stdout == GOOD, done.stderr
    assert asked(small) == {"/simple/honest/", "/files/honest-1.0-py3-none-any.whl"}, "not its stranger either"
    small.index.requests.clear()
    assert small.run().stdout == GOOD
    assert not small.index.requests


@pytest.mark.parametrize("told", ["", "#sha256="], ids=["no hash on the page", "its own hash on the page"])
def test_a_wheel_that_was_tampered_with_is_refused(small: SmallCheckout, told: str) -> None:
    honest = dict(small.index.files)
    body = small.put("WORD = 'two'")
    if told:
        small.put("WORD = 'two'", told=told + hashlib.sha256(body).hexdigest())
    done = small.run()
    assert done.returncode == 2
    assert "another file than the one whose sha256 is in" in done.stderr
    assert not small.installed
    assert not list(small.venv.glob(".flash-doctor*"))
    small.index.files.update(honest)
    assert small.run().stdout == GOOD, "the right file mends it"


@pytest.mark.parametrize("lock", ["pip", "run"])
def test_a_requirement_without_hash_is_refused(small: SmallCheckout, lock: str) -> None:
    small.lock(lock, "honest==1.0")
    done = small.run()
    assert done.returncode == 2
    assert f"pip could not install the dependencies in {small.folder}/scripts/locks/{lock}.txt" in done.stderr
    advised = re.search(r"pip download (.*) -r (.*)\n", done.stderr)
    assert advised
    assert shlex.split(advised[2]) == [f"{small.folder}/scripts/locks/run.txt"], "which holds pip too"
    assert not small.installed


def test_a_source_distribution_is_not_built(small: SmallCheckout, tmp_path: Path) -> None:
    """Its setup.py would run as whoever calls scripts/doctor."""
    source, ran = tmp_path / "honest-1.0", tmp_path / "ran"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(ran)!r}, 'w')\n")
    body = Path(shutil.make_archive(str(source), "gztar", source.parent, source.name)).read_bytes()
    small.index.files["/files/honest-1.0.tar.gz"] = body
    small.index.files["/simple/honest/"] = b'<a href="/files/honest-1.0.tar.gz">honest-1.0.tar.gz</a>'
    small.lock("run", "honest==1.0", hashlib.sha256(body).hexdigest())
    done = small.run()
    assert done.returncode == 2
    assert "does it carry these very files?" in done.stderr
    assert not ran.exists()


def evil(folder: Path, ran: Path) -> None:
    """Everything in a folder that Python, pip, uv or a build backend might take for its own."""
    folder.mkdir()
    code = f"open({str(ran)!r}, 'a').write(__file__ + chr(10))\n"
    for name in ("sitecustomize", "usercustomize", "enum", "venv", "ensurepip", "backend", "honest", "hatchling"):
        (folder / f"{name}.py").write_text(code)
    for package in ("pip", "flash_doctor", "pip_api"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(code)
        (folder / package / "__main__.py").write_text(code)
    settings = f"[global]\nindex-url = http://127.0.0.1:1/simple\ntarget = {folder / 'target'}\n"
    for name in ("pip.conf", "pip.ini", "pydistutils.cfg", "setup.cfg"):
        (folder / name).write_text(settings)
    (folder / "uv.toml").write_text('index-url = "http://127.0.0.1:1/simple"\n')
    (folder / "requirements.txt").write_text("stranger\n")
    (folder / "constraints.txt").write_text("honest==2\n")
    (folder / "pyproject.toml").write_text(f'[build-system]\nrequires = ["stranger"]\nbuild-backend = "{ran}"\n')
    (folder / "pyvenv.cfg").write_text("home = /nowhere\n")


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_nothing_of_the_current_folder_is_used(small: SmallCheckout, tmp_path: Path) -> None:
    folder, ran = tmp_path / "evil", tmp_path / "ran"
    evil(folder, ran)
    before = listing(folder)
    done = small.run(folder, PYTHONPATH=f":{folder}:.")
    assert done.stdout == GOOD, done.stderr
    assert not ran.exists(), ran.read_text()
    assert listing(folder) == before
    assert asked(small) == {"/simple/honest/", "/files/honest-1.0-py3-none-any.whl"}


ELSEWHERE = {
    "target": "FOLDER/target",
    "prefix": "FOLDER/prefix",
    "root": "FOLDER/root",
    "user": "1",
    "src": "FOLDER/src",
    "dry-run": "1",
    "no-binary": ":all:",
    "require-hashes": "1",
    "requirement": "FOLDER/requirements.txt",
    "editable": "FOLDER",
    "constraint": "FOLDER/constraints.txt",
    "build-constraint": "FOLDER/constraints.txt",
    "group": "dev",
    "python": "/nowhere/python",
    "platform": "win32",
    "python-version": "2.7",
    "only-binary": "none",
    "ignore-requires-python": "1",
    "report": "FOLDER/report.json",
    "log": "FOLDER/log",
    "quiet": "3",
    "isolated": "1",
    "pre": "1",
    "force-reinstall": "1",
    "no-build-isolation": "0",
    "use-pep517": "0",
    "config-settings": "x=y",
}


def elsewhere(folder: Path, names: set[str]) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "requirements.txt").write_text("stranger\n")
    (folder / "constraints.txt").write_text("honest==2\n")
    return {name: value.replace("FOLDER", str(folder)) for name, value in ELSEWHERE.items() if name in names}


def named(settings: dict[str, str]) -> dict[str, str]:
    return {f"PIP_{name.upper().replace('-', '_')}": value for name, value in settings.items()}


def test_variables_that_redirect_or_break_pip_and_its_children_are_not_heard(
    small: SmallCheckout, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    settings = elsewhere(folder, set(ELSEWHERE))
    before = listing(folder)
    wrong = {"PYTHONHASHSEED": "none", "PYTHONWARNINGS": "error", "PYTHONSTARTUP": "/nowhere", "PYTHONHOME": "/nowhere"}
    more = {"HATCH_BUILD_CLEAN": "1", "_PIP_RUNNING_IN_SUBPROCESS": "1", "CDPATH": "/:."}
    done = small.run(**named(settings), **wrong, **more)
    assert done.stdout == GOOD, done.stderr
    assert listing(folder) == before


def test_files_of_pip_that_redirect_are_not_heard_and_their_index_is(small: SmallCheckout, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    # these are for pip as a whole, its own `config` included
    settings = elsewhere(folder, set(ELSEWHERE) - {"python", "isolated", "log"})
    before = listing(folder)
    lines = [f"{name} = {value}" for name, value in settings.items()]
    install = ["[install]", f"index-url = {small.index.url}/simple/", *lines]
    config = tmp_path / "pip.conf"
    config.write_text("\n".join(["[global]", "index-url = http://127.0.0.1:1/simple/", *lines, *install]) + "\n")
    done = small.run(PIP_CONFIG_FILE=config.name, PIP_INDEX_URL="")
    assert done.stdout == GOOD, done.stderr
    assert listing(folder) == before


def test_a_folder_of_wheels_in_place_of_an_index(small: SmallCheckout) -> None:
    """As for a machine without network; also when it is named from the current folder, in which pip does not run."""
    done = small.run(PIP_INDEX_URL="", PIP_NO_INDEX="1", PIP_FIND_LINKS="built")
    assert done.stdout == GOOD, done.stderr
    assert not small.index.requests


def test_the_patient_still_gets_what_the_making_did_not(fresh: SmallCheckout) -> None:
    fresh.put_fake_python()
    python = fresh.venv / "bin" / "python"
    python.write_text(python.read_text() + 'case "$*" in *"-m flash_doctor"*) env ;; esac\n')
    told = fresh.run(PIP_TARGET="/there", PYTHONHASHSEED="7", HATCH_ENV="mine").stdout.splitlines()
    for line in ("PIP_TARGET=/there", "PYTHONHASHSEED=7", "HATCH_ENV=mine", f"PIP_CONFIG_FILE={os.devnull}"):
        assert line in told


@pytest.mark.parametrize("changed", ["pyproject.toml", "scripts/locks/run.txt", "scripts/locks/pip.txt"])
def test_it_is_renewed_when_the_content_of_what_it_is_made_from_changes(fresh: SmallCheckout, changed: str) -> None:
    """Whatever the times say: an archive or rsync brings old ones, a clone equal ones, `touch` new ones."""
    notes = fresh.put_fake_python()
    assert "installing" in fresh.run().stderr
    made = notes.read_text()
    path = fresh.folder / changed
    os.utime(path)
    assert fresh.run().stderr == ""
    path.write_text(path.read_text() + "\n")
    os.utime(path, (1, 1))
    notes.unlink()
    again = fresh.run()
    assert "installing" in again.stderr
    assert "making" not in again.stderr
    assert notes.read_text() == made, "all of it again"
    assert fresh.run().stderr == ""


def test_an_install_that_was_cut_off_is_done_again(fresh: SmallCheckout) -> None:
    fresh.put_fake_python()
    python = fresh.venv / "bin" / "python"
    honest = python.read_text()
    python.write_text(honest + 'case "$*" in *run.txt*) kill -9 $PPID ;; esac\n')
    assert fresh.run().returncode != 0
    python.write_text(honest)
    assert "installing" in fresh.run().stderr


def test_a_checkout_that_was_moved_does_not_run_what_lies_where_it_was(fresh: SmallCheckout) -> None:
    fresh.put_fake_python()
    fresh.run()
    moved = fresh.folder.with_name("moved")
    fresh.folder.rename(moved)
    assert "installing" in SmallCheckout(moved, fresh.index).run().stderr


def test_two_first_uses_at_once_make_one_venv(fresh: SmallCheckout) -> None:
    script = str(fresh.folder / "scripts" / "doctor")
    variables = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"{fresh.index.url}/simple/"}
    variables["PYTHON"] = sys.executable  # the lock names the pip that this one brings
    pipe = subprocess.PIPE
    both = [subprocess.Popen([script], stdout=pipe, stderr=pipe, text=True, env=variables) for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]
    assert [stdout for stdout, _ in told] == [GOOD, GOOD], told
    assert sum("making" in stderr for _, stderr in told) == 1


def test_a_making_that_was_cut_off_is_taken_up(fresh: SmallCheckout) -> None:
    fresh.venv.mkdir()
    (fresh.venv / "set-up.lock").touch()
    (fresh.venv / "lib").mkdir()
    (fresh.venv / "pyvenv.cfg").write_text("home = /nowhere\n")
    done = fresh.run()
    assert done.stdout == GOOD, done.stderr


def test_its_folder_may_be_named_from_the_current_one_and_nothing_is_written_beside_it(
    small: SmallCheckout, tmp_path: Path
) -> None:
    """Others may have laid links there, in a folder such as the one for temporary files."""
    small.venv.rename(tmp_path / "mine")
    precious = tmp_path / "precious"
    precious.write_text("ours")
    for name in ("mine.log", "mine.lock"):
        (tmp_path / name).symlink_to(precious)
    before = {path.name for path in tmp_path.iterdir()}
    done = small.run(FLASH_DOCTOR_VENV="mine")
    assert done.stdout == GOOD, done.stderr
    assert precious.read_text() == "ours"
    assert {path.name for path in tmp_path.iterdir()} == before
    assert not small.venv.exists()


@pytest.mark.parametrize("content", ["notes.txt", "pyvenv.cfg", "file"])
def test_a_folder_of_somebody_elses_is_left_as_it_is(fresh: SmallCheckout, content: str) -> None:
    """Someone's notes; a venv that uv made, with packages and without pip; a file."""
    folder = fresh.folder.parent / "other"
    if content == "file":
        folder.touch()
    else:
        # enough of them to fill a pipe
        for name in ("pip", "setuptools", *(f"package{number}" for number in range(1500))):
            (folder / "lib" / "python3.12" / "site-packages" / f"{name}-2.9.0.dist-info").mkdir(parents=True)
        (folder / content).write_text("home = /usr/bin\n")
    before = listing(folder)
    done = fresh.run(FLASH_DOCTOR_VENV=str(folder))
    assert done.returncode == 2
    assert "holds other things" in done.stderr
    assert listing(folder) == before
    assert folder.is_dir() != (content == "file")


STRANGER = 12345


@pytest.fixture
def shared(fresh: SmallCheckout) -> Iterator[SmallCheckout]:
    """A checkout of ours in a folder that others can enter, run by one of them."""
    if os.geteuid() != 0:
        pytest.skip("only root can play another user")
    folder = Path(tempfile.mkdtemp(prefix="flash-doctor-test-"))
    try:
        folder.chmod(0o755)
        shutil.copytree(fresh.folder, folder / "checkout")
        yield SmallCheckout(folder / "checkout", fresh.index, STRANGER)
    finally:
        shutil.rmtree(folder)


def test_a_checkout_of_somebody_else_says_what_can_be_done(shared: SmallCheckout) -> None:
    before = listing(shared.folder)
    done = shared.run(PYTHON="/usr/bin/python3")
    assert done.returncode == 2
    assert "you may not write there" in done.stderr
    assert "have root run it once" in done.stderr
    assert "FLASH_DOCTOR_VENV=~/" in done.stderr
    assert len(done.stderr.splitlines()) == 3
    assert listing(shared.folder) == before

    notes = shared.put_fake_python()
    SmallCheckout(shared.folder, shared.index).run()
    notes.chmod(0o666)
    used = shared.run()
    assert used.stderr == "", "root ran it once, and now it serves everybody"
    assert notes.read_text().endswith("-I -m flash_doctor\n")


def test_an_environment_of_his_own_is_made_beside_it(shared: SmallCheckout) -> None:
    own = shared.folder.parent / "own"
    shared.put_fake_python(own)
    for path in (own, own / "bin", own / "set-up.lock"):
        os.chown(path, STRANGER, STRANGER)
    before = listing(shared.folder)
    done = shared.run(FLASH_DOCTOR_VENV=str(own))
    assert done.returncode == 0, done.stderr
    assert (own / ".flash-doctor").stat().st_uid == STRANGER
    assert listing(shared.folder) == before


def test_a_folder_that_a_stranger_made_is_not_filled_for_us(shared: SmallCheckout) -> None:
    """He could put another program in its place."""
    trap = shared.folder.parent / "trap"
    shared.put_fake_python(trap)
    trap.chmod(0o777)
    os.chown(trap, STRANGER, STRANGER)
    before = listing(trap)
    done = SmallCheckout(shared.folder, shared.index).run(FLASH_DOCTOR_VENV=str(trap))
    assert done.returncode == 2
    assert "belongs to" in done.stderr
    assert listing(trap) == before
