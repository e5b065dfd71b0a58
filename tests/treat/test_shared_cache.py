"""A cache that others can write: what they put there is never run, whatever it is named."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from clinic import Clinic, install_step
from flash_doctor.errors import DoctorError
from flash_doctor.install.fetch import Sources, WantedFile, fetch, hash_of
from flash_doctor.system.private import make_private
from servers import Site, serve
from users import STRANGER, as_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HONEST = b"raise SystemExit('the honest source is compiled here')"


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    made = Clinic(tmp_path / "clinic", environment={"HOME": str(tmp_path / "home")})
    made.folder.mkdir()
    (tmp_path / "home").mkdir(mode=0o700)
    made.einops()
    return made


def plan_of_a_build(clinic: Clinic) -> Path:
    """A plan that compiles a source which always fails to compile: only a kept wheel can come out of it."""
    source = clinic.folder / "flash_attn-2.8.3.tar.gz"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        files = {"setup.py": HONEST, "PKG-INFO": b"Name: flash-attn\nVersion: 2.8.3\n"}
        for name, content in files.items():
            entry = tarfile.TarInfo(f"flash_attn-2.8.3/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    source.write_bytes(packed.getvalue())
    build = {
        "action": "build", "name": "flash-attn", "requirement": "flash-attn==2.8.3", "because": "no wheel",
        "url": source.as_uri(), "sha256": hash_of(source), "size": source.stat().st_size, "settings": {}, "jobs": 1,
        "minutes": 2, "memory": 1, "needs": [],
    }  # fmt: skip
    einops = install_step("einops", "0.8.1", clinic.wheels / "einops-0.8.1-py3-none-any.whl")
    goal = {"wanted": ["flash-attn"], "keep": ["torch"], "allow": ["build"]}
    path = clinic.folder / "plan.json"
    path.write_text(
        json.dumps({"schema": "flash-doctor/plan/1", "goal": goal, "because": ["x"], "steps": [build, einops]})
    )
    return path


def plant(clinic: Clinic, cache: Path, ran: Path, built: str = "") -> None:
    """What another user puts there: a wheel where a compiled one would be, and the word that it is done."""
    attack = f"open({str(ran)!r}, 'a').close()"
    wheel = clinic.flash("2.8.3", folder="attacker", more=attack)
    (workshop,) = (cache / "builds").iterdir()
    (workshop / "wheel").mkdir(exist_ok=True)
    shutil.copy(wheel, workshop / "wheel" / wheel.name)
    (workshop / "built").write_text(built.format(sha256=hash_of(wheel), name=wheel.name))


MARKERS = {"as 0.1.0 made it": "", "as we make it": "{sha256}  {name}\n"}
OPENED: dict[str, Callable[[Path], None]] = {
    "for everybody": lambda path: path.chmod(0o777),
    "for everybody, sticky": lambda path: path.chmod(0o1777),
    "above": lambda path: path.parent.chmod(0o777),
}


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("opened", OPENED)
def test_a_wheel_that_was_put_into_a_shared_cache_does_not_run(clinic: Clinic, opened: str, marker: str) -> None:
    shared = clinic.folder / "shared" / "cache"
    clinic.environment["FLASH_DOCTOR_CACHE"] = str(shared)
    ran, plan = clinic.folder / "ran", plan_of_a_build(clinic)
    assert clinic.run("fix", "--plan", str(plan), "--yes", "--import-only").returncode == 4, "makes the folders"
    OPENED[opened](shared)
    plant(clinic, shared, ran, MARKERS[marker])
    done = clinic.run("fix", "--plan", str(plan), "--yes", "--import-only")
    assert not ran.exists()
    assert done.returncode == 4, done.stdout + done.stderr
    assert done.stderr.count("is not used") == 1
    assert (clinic.folder.parent / "home" / ".cache" / "flash-doctor" / "builds").is_dir(), "the one in its place"


@as_root
@pytest.mark.parametrize("marker", MARKERS)
def test_a_cache_of_another_user_is_not_believed(clinic: Clinic, marker: str) -> None:
    shared = clinic.folder / "cache"
    ran, plan = clinic.folder / "ran", plan_of_a_build(clinic)
    clinic.run("fix", "--plan", str(plan), "--yes", "--import-only")
    plant(clinic, shared, ran, MARKERS[marker])
    for path in [shared, *shared.rglob("*")]:
        os.chown(path, STRANGER, STRANGER)
    done = clinic.run("fix", "--plan", str(plan), "--yes", "--import-only")
    assert not ran.exists()
    assert f"uid {STRANGER}" in done.stderr


def test_the_cache_is_made_for_us_alone_whatever_the_umask(clinic: Clinic) -> None:
    plan = plan_of_a_build(clinic)
    before = os.umask(0)
    try:
        clinic.run("fix", "--plan", str(plan), "--yes", "--import-only")
    finally:
        os.umask(before)
    assert (clinic.folder / "cache").stat().st_mode & 0o777 == 0o700


def test_a_file_of_a_shared_cache_is_taken_by_its_hash_and_from_a_copy(tmp_path: Path) -> None:
    content = b"a wheel"
    sha256 = hashlib.sha256(content).hexdigest()
    there = tmp_path / "shared" / "files" / sha256 / "x.whl"
    there.parent.mkdir(parents=True)
    there.write_bytes(content)
    sources = Sources(cache=tmp_path / "cache", shared=tmp_path / "shared", network=False)
    wanted = WantedFile(url="https://x.invalid/x.whl", sha256=sha256)
    found = fetch(wanted, sources)
    assert (tmp_path / "cache") in found.path.parents
    there.write_bytes(b"another")
    assert found.path.read_bytes() == content
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(Exception, match=r"x\.whl is not in"):
        fetch(wanted, sources)


@pytest.mark.parametrize("name", ["lock", "x.whl", "x.whl.tag"])
@pytest.mark.parametrize("begun", [True, False])
def test_nothing_of_a_download_is_opened_through_a_link(tmp_path: Path, name: str, begun: bool) -> None:
    """Where a cache was open to others before, links of theirs may lie in it."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    with serve(Site(files={"/x.whl": b"a wheel"})) as site:
        wanted = WantedFile(url=f"{site.url}/x.whl", sha256=hashlib.sha256(b"a wheel").hexdigest())
        folder = make_private(tmp_path / "cache" / "incoming" / hashlib.sha256(wanted.url.encode()).hexdigest()[:16])
        if begun:
            (folder / "x.whl").write_bytes(b"a wh")
            (folder / "x.whl.tag").write_text('"tag"')
            (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(precious)
        with suppress(DoctorError, OSError):
            fetch(wanted, Sources(cache=tmp_path / "cache"))
    assert precious.read_text() == "kept"
