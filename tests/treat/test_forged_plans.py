"""Plans and bundles that lie about where a file is from and who vouches for it: the person who decides sees the truth.

The genuine rows are those of the doctor's own facts, so no test here fetches anything from their addresses.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from clinic import Clinic, install_step, sha256, write_plan
from flash_doctor.facts import Facts
from flash_doctor.resolve.sources.matrix import load_wheels
from trees import snapshot

if TYPE_CHECKING:
    from flash_doctor.model.wheel import Wheel

PINNED, PUBLISHED = "pinned in the doctor's facts", "sha256 by its publisher"
ALONE = "named by the plan file alone"


@pytest.fixture(scope="module")
def genuine() -> Wheel:
    """A flash-attn 2.8.3 of the authors, for this Python, whose hash the facts pin."""
    for wheel in load_wheels(Facts().folder / "wheels", publishers=Facts().publishers):
        if wheel.version.startswith("2.8.3") and wheel.sha256 and wheel.url and "cp311" in wheel.python:
            return wheel
    pytest.fail("the facts have no such wheel")


def forged(clinic: Clinic, wheel: Wheel, **changed: Any) -> dict[str, Any]:
    """A step that names a genuine address, and another file."""
    made = clinic.flash("2.8.3", folder="elsewhere")
    place = clinic.folder / "usb" / wheel.filename
    place.parent.mkdir(exist_ok=True)
    shutil.copy(made, place)
    assert wheel.url is not None
    step = install_step("flash-attn", "2.8.3", place, url=wheel.url)
    return {**step, "hash_state": "pinned", "publisher": "dao-ailab", "filename": wheel.filename, **changed}


def quoted_otherwise(url: str) -> str:
    return url.replace("%2B", "+").replace("flash_attn", "flash%5Fattn")


@pytest.mark.parametrize(
    "change",
    [str, quoted_otherwise, lambda url: url.replace("github.com", "GitHub.com:443"), lambda url: url + "#sha256=0"],
)
@pytest.mark.parametrize("state", ["pinned", "published", "first-seen", "claimed"])
def test_another_file_at_a_known_address_is_refused(clinic: Clinic, genuine: Wheel, change: Any, state: str) -> None:
    step = forged(clinic, genuine, hash_state=state)
    plan = write_plan(clinic, {**step, "url": change(step["url"])})
    before = snapshot(clinic.venv)
    shutil.copy(plan, clinic.folder / "usb" / "plan.json")
    for arguments in (("--plan", str(plan)), ("--bundle", str(clinic.folder / "usb"))):
        done = clinic.run("fix", "--yes", "--no-verify", *arguments)
        assert done.returncode == 2
        assert "another file than the doctor's facts know" in done.stderr
        assert PINNED not in done.stdout
    assert snapshot(clinic.venv) == before


def test_the_pinned_hash_stays_pinned_and_fills_a_gap(clinic: Clinic, genuine: Wheel) -> None:
    step = forged(clinic, genuine, sha256=None, hash_state="first-seen")
    done = clinic.run("fix", "--dry-run", "--plan", str(write_plan(clinic, step)))
    assert f"{genuine.sha256[:12] if genuine.sha256 else ''}…, sha256 {PINNED}" in " ".join(done.stdout.split())


@pytest.mark.parametrize("state", ["pinned", "published"])
@pytest.mark.parametrize("host", ["files.invalid", "github.com.evil.invalid", "github.com"])
def test_what_only_the_plan_vouches_for_is_called_so(clinic: Clinic, host: str, state: str) -> None:
    einops = clinic.einops("usb")
    url = f"https://{host}/Dao-AILab/flash-attention/releases/download/v9/{einops.name}"
    step = {**install_step("einops", "0.8.1", einops, url=url), "hash_state": state, "publisher": "dao-ailab"}
    plan = write_plan(clinic, step)
    shown = clinic.run("fix", "--dry-run", "--plan", str(plan))
    assert shown.returncode == 0, shown.stderr
    text = " ".join(shown.stdout.split())
    assert ALONE in text
    assert f"from {host}/" in text
    shutil.copy(plan, clinic.folder / "usb" / "plan.json")
    done = clinic.run("fix", "--yes", "--no-verify", "--bundle", str(clinic.folder / "usb"))
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert ALONE in text
    assert all(lie not in text for lie in (PINNED, PUBLISHED, host))
    (origin,) = clinic.site.glob("einops-*.dist-info/direct_url.json")
    assert json.loads(origin.read_text())["url"] == einops.as_uri(), "where it is really from"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.invalid:443?@github.com/Dao-AILab/{name}",
        "https://evil.invalid#@github.com/Dao-AILab/{name}",
        "https://evil.invalid\\@github.com/Dao-AILab/{name}",
        "https://evil.invalid/@github.com/Dao-AILab/{name}",
        "https://github.com\u2024evil.invalid/{name}",
    ],
)
def test_an_address_that_hides_its_host_is_refused(clinic: Clinic, url: str) -> None:
    einops = clinic.einops("usb")
    step = install_step("einops", "0.8.1", einops, url=url.format(name=einops.name))
    done = clinic.run("fix", "--yes", "--no-verify", "--plan", str(write_plan(clinic, step)))
    assert done.returncode == 2
    assert "github.com" not in done.stdout + done.stderr


def test_a_file_that_was_trusted_before_is_not_exchanged_by_a_plan(clinic: Clinic) -> None:
    einops, other = clinic.einops("shop"), clinic.flash("2.8.3", folder="shop")
    data = clinic.folder / "data"
    clinic.environment["FLASH_DOCTOR_DATA"] = str(data)
    url = f"https://files.invalid/{einops.name}"
    data.mkdir()
    pin = {"url": url, "sha256": sha256(other), "size": 1, "date": "2026-01-01"}
    (data / "pins.json").write_text(json.dumps({"pins": [pin]}))
    plan = write_plan(clinic, install_step("einops", "0.8.1", einops, url=url))
    done = clinic.run("bundle", str(clinic.folder / "bag"), "--plan", str(plan), target=False)
    assert done.returncode == 2
    assert "not the file that you trusted before" in done.stderr


@pytest.mark.parametrize("place", ["usb", "./usb", "deep/../usb", "usb/"])
def test_a_bundle_named_relative_to_where_one_stands(clinic: Clinic, place: str) -> None:
    """The README's recipe, on a machine whose cache is empty: files are named by their https address."""
    einops = clinic.einops("usb")
    (clinic.folder / "deep").mkdir()
    step = install_step("einops", "0.8.1", einops, url=f"https://files.invalid/{einops.name}")
    shutil.copy(write_plan(clinic, step), clinic.folder / "usb" / "plan.json")
    for options in (["--bundle", place], ["--wheelhouse", place, "--plan", f"{place}/plan.json"]):
        clinic.environment["FLASH_DOCTOR_CACHE"] = str(clinic.folder / options[0])
        done = run_in(clinic, "fix", "--yes", "--no-verify", *options, "--python", str(clinic.venv))
        assert done.returncode == 0, done.stderr
        assert (clinic.site / "einops").is_dir()
        assert clinic.run("rollback").returncode == 0


def test_a_plan_may_come_through_a_pipe(clinic: Clinic) -> None:
    """As in `fix --plan <(flash-doctor plan --json)`."""
    plan = write_plan(clinic, install_step("einops", "0.8.1", clinic.einops("usb")))
    doctor = clinic.run("--version", target=False).args[0]
    script = f'exec "$0" fix --dry-run --python "$1" --plan <(cat "{plan}")'
    done = subprocess.run(
        ["bash", "-c", script, doctor, str(clinic.venv)],
        capture_output=True,
        text=True,
        env=clinic.environ(),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "install einops 0.8.1" in done.stdout


def run_in(clinic: Clinic, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The doctor, called in the clinic's own folder."""
    old = clinic.run("--version").args[0]
    return subprocess.run(
        [old, *arguments], capture_output=True, text=True, env=clinic.environ(), cwd=clinic.folder, timeout=120
    )


def test_a_bundle_holds_what_was_promised_or_nothing(clinic: Clinic) -> None:
    secret = clinic.folder / "einops-0.8.1-py3-none-any.whl"
    secret.write_text("root's own")
    secret.chmod(0o600)
    step = {**install_step("einops", "0.8.1", secret), "sha256": "0" * 64}
    done = clinic.run("bundle", str(clinic.folder / "bag"), "--plan", str(write_plan(clinic, step)), target=False)
    assert done.returncode != 0
    assert "not the file that was promised" in done.stderr
    assert not [path for path in (clinic.folder / "bag").rglob("*") if path.is_file()]


def test_a_bundle_keeps_modes_and_writes_through_no_link(clinic: Clinic) -> None:
    einops = clinic.einops("shop")
    einops.chmod(0o600)
    outside, bag = clinic.folder / "outside", clinic.folder / "bag"
    bag.mkdir()
    outside.write_text("mine")
    (bag / einops.name).symlink_to(outside)
    os.link(outside, clinic.folder / "second name")
    plan = write_plan(clinic, install_step("einops", "0.8.1", einops))
    done = clinic.run("bundle", str(bag), "--plan", str(plan), target=False)
    assert done.returncode == 0, done.stderr
    assert outside.read_text() == "mine"
    packed = bag / einops.name
    assert not packed.is_symlink()
    assert stat.S_IMODE(packed.stat().st_mode) == 0o600
    assert sha256(packed) == sha256(einops)


def test_two_files_of_one_name_are_not_mixed_up(clinic: Clinic) -> None:
    first = clinic.einops("shop")
    other = clinic.folder / "other" / first.name
    other.parent.mkdir()
    other.write_bytes(clinic.flash("2.8.3", folder="shop").read_bytes())
    steps = [install_step("einops", "0.8.1", path) for path in (first, other)]
    done = clinic.run("bundle", str(clinic.folder / "bag"), "--plan", str(write_plan(clinic, *steps)), target=False)
    assert done.returncode == 2
    assert "two files with the name" in done.stderr
