"""A plan from a stranger: whatever it says, it names a file, a hash and a distribution, or it is refused in words."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from clinic import Clinic, install_step, sha256, write_plan
from flash_doctor.errors import BadInput, DoctorError
from flash_doctor.install.plan_file import read_plan
from flash_doctor.system.download import download
from flash_doctor.system.http import HttpError
from servers import Site, serve
from trees import snapshot

if TYPE_CHECKING:
    from pathlib import Path

STEP = {
    "action": "install", "name": "x", "requirement": "x==1", "because": "", "url": "https://h.invalid/x-1-py3-none-any.whl",
    "sha256": "a" * 64, "size": 1,
}  # fmt: skip


def plan_of(folder: Path, **changed: object) -> Path:
    path = folder / "plan.json"
    steps = [{**STEP, **changed}]
    path.write_text(json.dumps({"schema": "flash-doctor/plan/1", "steps": steps, "because": [], "goal": {}}))
    return path


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"sha256": "a" * 64 + "\nevil @ file:///x.whl"}, "64 hexadecimal"),
        ({"sha256": "../../.."}, "64 hexadecimal"),
        ({"size": -1}, "no size"),
        ({"size": 1 << 60}, "no size"),
        ({"url": ""}, "does not begin with https"),
        ({"url": "https://h.invalid/"}, "names no file"),
        ({"url": "https://h.invalid/a%2F.."}, "names no file"),
        ({"url": "https://h.invalid/a%00b.whl"}, "names no file"),
        ({"url": "https://h.invalid/a%0Ab.whl"}, "names no file"),
        ({"url": "https://h.invalid:123456/a.whl"}, "names no host"),
        ({"url": "https://[::1/a.whl"}, "names no host"),
        ({"url": "file:///etc/passwd"}, "names no wheel"),
        ({"url": "file:///somewhere/plan.json"}, "names no wheel"),
        ({"url": "https://h.invalid/x-1.tar.gz"}, "names no wheel"),
        ({"url": "https://h.invalid/y-1-py3-none-any.whl"}, "is not x"),
        ({"url": "https://h.invalid/x-2-py3-none-any.whl"}, "is not x 1"),
        ({"url": "http://h.invalid/x-1-py3-none-any.whl"}, "only https and file"),
        ({"version": "2"}, "is not what x==1 asks for"),
        ({"version": "one"}, "version"),
        ({"requirement": "x @ file:///tmp/x-1-py3-none-any.whl"}, "is not x"),
        ({"requirement": "x==1\n--index-url https://evil.invalid"}, "requirement"),
        ({"name": "evil$(touch pwn)", "requirement": "x==1"}, "name"),
        ({"name": "-r", "requirement": "x==1"}, "name"),
        ({"name": "../x"}, "name"),
        ({"indexes": ["http://evil.invalid/simple"]}, "only https and file"),
        ({"indexes": ["https://evil.invalid/#@h.invalid"]}, "signs"),
        ({"action": ["install"]}, "action"),
        ({"action": None}, "action"),
        ({"action": "remove"}, "no such key in Remove"),
        ({"later": 1}, "steps\\[0\\].later: no such key"),
        ({"wheel": {"family": {}}}, "wheel: no such key"),
        ({"size": "12"}, "size: expected"),
    ],
)
def test_each_lie_is_named(tmp_path: Path, changed: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadInput, match=fault):
        read_plan(plan_of(tmp_path, **changed), tuple)


def test_a_hash_in_capitals_is_the_same_hash(tmp_path: Path) -> None:
    assert getattr(read_plan(plan_of(tmp_path, sha256="A" * 64), tuple).steps[0], "sha256", "") == "a" * 64


@pytest.mark.parametrize("text", ["[" * 200_000, '{"schema":"flash-doctor/plan/1","steps":' + "[" * 200_000])
def test_a_plan_nested_without_end_is_unreadable(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(BadInput, match="cannot be read"):
        read_plan(tmp_path / "plan.json", tuple)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "plan.json").symlink_to("/dev/zero")
    with pytest.raises(BadInput):
        read_plan(tmp_path / "plan.json", tuple)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_copied(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "x.whl"
    os.mkfifo(source) if kind == "pipe" else source.symlink_to("/dev/zero")
    with pytest.raises(HttpError, match="is no file"):
        download(source.as_uri(), tmp_path / "copy", sha256=None)


def test_nobody_is_sent_on_to_an_address_that_anyone_could_change(tmp_path: Path) -> None:
    with serve(Site(files={"/real.whl": b"x"})) as site:
        port = site.url.rpartition(":")[2]
        for place in (f"http://0.0.0.0:{port}/real.whl", "file:///etc/hostname", "ftp://h.invalid/x"):
            site.redirects["/x.whl"] = place
            with pytest.raises(DoctorError, match="which is not https"):
                download(f"{site.url}/x.whl", tmp_path / "copy", sha256=None)
        assert "/real.whl" not in [path for path, _ in site.requests]


def test_credentials_are_used_and_never_shown_or_stored(clinic: Clinic) -> None:
    wheel = clinic.flash()
    name = wheel.name.replace("+", "%2B")
    with serve(Site(files={f"/{name}?token=tOken": wheel.read_bytes()})) as site:
        url = f"{site.url}/{name}?token=tOken".replace("//", "//ada:sEcret@")
        plan = write_plan(clinic, install_step("flash-attn", "2.8.3", wheel, url=url))
        arguments = ("fix", "--yes", "--import-only", "--plan", str(plan))
        told = [clinic.run(*arguments, *more) for more in (("--dry-run",), ("--json",), ())]
    assert [done.returncode for done in told] == [0, 0, 0], told[1].stdout + told[1].stderr
    assert "Nothing to do" in told[2].stdout
    said = "".join(done.stdout + done.stderr for done in told)
    kept = [path.read_text() for path in clinic.site.rglob("*.json")]
    assert all(secret not in text for secret in ("sEcret", "tOken") for text in [said, *kept])


def test_what_a_plan_removes_or_compiles_is_done_once(clinic: Clinic) -> None:
    clinic.flash()
    einops = clinic.einops()
    assert clinic.fix().returncode == 0
    source = clinic.folder / "flash_attn-2.8.3.tar.gz"
    source.write_bytes(einops.read_bytes())
    remove = {"action": "remove", "name": "einops", "because": "a test"}
    build = {
        "action": "build", "name": "flash-attn", "requirement": "flash-attn==2.8.3", "because": "a test",
        "settings": {}, "jobs": 1, "minutes": 1, "memory": 1, "url": source.as_uri(), "sha256": sha256(source),
    }  # fmt: skip
    plan = write_plan(clinic, remove, build)
    arguments = ("fix", "--yes", "--no-verify", "--plan", str(plan), "--json")
    assert json.loads(clinic.run(*arguments).stdout)["state"] == "installed, not verified"
    assert not (clinic.site / "einops").exists()
    after = snapshot(clinic.venv)
    assert json.loads(clinic.run(*arguments).stdout)["state"] == "nothing to do"
    assert snapshot(clinic.venv) == after


def test_rollback_does_not_throw_away_what_somebody_wrote_since(clinic: Clinic) -> None:
    clinic.flash()
    clinic.einops()
    assert clinic.fix().returncode == 0
    edited = clinic.site / "einops" / "__init__.py"
    old = edited.read_text()
    edited.write_text("my own work")
    refused = clinic.run("rollback")
    assert refused.returncode == 2
    assert f"edited since: {edited}" in refused.stderr
    edited.write_text(old)
    assert clinic.run("rollback").returncode == 0


def test_a_quoted_path_in_an_address_leads_nowhere(clinic: Clinic) -> None:
    wheel = clinic.einops("shop")
    name = "..%2F..%2Foutside%2Feinops-0.8.1-py3-none-any.whl"
    (clinic.folder / "outside").mkdir()
    with serve(Site(files={f"/{name}": wheel.read_bytes()})) as site:
        plan = write_plan(clinic, install_step("einops", "0.8.1", wheel, url=f"{site.url}/{name}"))
        packed = clinic.run("bundle", str(clinic.folder / "deep" / "bag"), "--plan", str(plan), target=False)
    assert packed.returncode == 0, packed.stderr
    assert list((clinic.folder / "outside").iterdir()) == []
    assert (clinic.folder / "deep" / "bag" / wheel.name).is_file()


def test_rollback_without_all_of_the_old_files_changes_nothing(clinic: Clinic) -> None:
    clinic.flash("2.8.1")
    clinic.einops()
    assert clinic.fix("--want", "flash-attn==2.8.1").returncode == 0
    clinic.flash("2.8.3")
    assert clinic.fix("--want", "flash-attn==2.8.3").returncode == 0
    (kept,) = clinic.site.glob(".flash-doctor/*/old/0")
    kept.unlink()
    before = snapshot(clinic.venv)
    refused = clinic.run("rollback")
    assert refused.returncode == 2
    assert "1 of the old files" in refused.stderr
    assert snapshot(clinic.venv) == before


def test_a_device_that_is_none_is_a_usage_error(clinic: Clinic) -> None:
    assert clinic.run("fix", "--yes", "--device", "xyz").returncode == 2


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "PYTHONPATH", "PATH", "CC", "CFLAGS", "BASH_ENV", "max_jobs", "MAX_JOBS "]
)
def test_a_plan_sets_no_variable_of_its_own_choice(tmp_path: Path, name: str) -> None:
    build = {
        "action": "build", "name": "x", "requirement": "x==1", "because": "", "settings": {name: "1"}, "jobs": 1,
        "minutes": 1, "memory": 1,
    }  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"schema": "flash-doctor/plan/1", "steps": [build], "because": [], "goal": {}}))
    with pytest.raises(BadInput, match=re.escape(name)):
        read_plan(path, tuple)
