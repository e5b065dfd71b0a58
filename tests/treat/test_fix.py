"""`doctor fix` as people call it, on real venvs with real wheels: what it does, what it refuses, what it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clinic import FOREIGN, LABEL, TAG, Clinic, install_step, sha256, write_plan
from flash_doctor.install.journal import FOLDER
from mounts import mounted
from servers import Site, serve
from trees import snapshot
from wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode
    return found


def stock(clinic: Clinic, *versions: str) -> None:
    for version in versions or ("2.8.3",):
        clinic.flash(version)
    clinic.einops()


def version_of(clinic: Clinic) -> str:
    code = "import flash_attn; print(flash_attn.__version__)"
    run = subprocess.run([str(clinic.venv / "bin" / "python"), "-B", "-c", code], capture_output=True, text=True)
    return run.stdout.strip()


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_install_again_and_roll_back(clinic: Clinic, installer: str) -> None:
    stock(clinic)
    before = snapshot(clinic.venv)
    done = document(clinic.fix("--installer", installer, "--json"))
    assert (done["state"], done["proof"]["level"]) == ("installed and verified", "import")
    assert version_of(clinic) == "2.8.3"
    receipt = json.loads(Path(done["receipt"]).read_text())
    assert receipt["state"] == done["state"]
    assert {change["name"]: len(change["sha256"]) for change in receipt["sheet"]["changes"]} == {
        "flash-attn": 64,
        "einops": 64,
    }
    after = snapshot(clinic.venv)
    start = time.monotonic()
    again = document(clinic.fix("--json"))
    assert again["state"] == "nothing to do"
    assert time.monotonic() - start < 3, "promised is one second, on a machine that does nothing else"
    assert snapshot(clinic.venv) == after
    assert document(clinic.run("rollback", "--list", "--json"))["fixes"][0]["finished"]
    assert clinic.run("rollback").returncode == 0
    assert snapshot(clinic.venv) == before
    assert "no fix" in clinic.run("rollback").stdout


def test_without_agreement_nothing_happens(clinic: Clinic) -> None:
    stock(clinic)
    before = snapshot(clinic.venv)
    silent = clinic.run("fix", "--wheelhouse", str(clinic.wheels), "--offline")
    assert silent.returncode == 2
    assert "--yes" in silent.stderr
    shown = clinic.run("fix", "--wheelhouse", str(clinic.wheels), "--offline", "--dry-run")
    assert shown.returncode == 0
    assert "install flash-attn 2.8.3" in shown.stdout
    assert snapshot(clinic.venv) == before


def test_a_library_that_does_not_import_restores(clinic: Clinic) -> None:
    clinic.flash("2.8.3", more="raise ImportError('it is broken inside')")
    clinic.einops()
    before = snapshot(clinic.venv)
    done = document(clinic.fix("--json"))
    assert done["exit_code"] == 5
    assert done["state"] == "verification failed, restored"
    assert "it is broken inside" in str(done["proof"]["findings"])
    assert snapshot(clinic.venv) == before


def test_a_broken_update_brings_the_old_version_back(clinic: Clinic) -> None:
    stock(clinic, "2.8.1")
    assert clinic.fix().returncode == 0
    before = snapshot(clinic.venv)
    clinic.flash("2.8.3", more="import os; os.abort()")
    done = document(clinic.fix("--want", "flash-attn==2.8.3", "--json"))
    assert done["exit_code"] == 5
    assert "SIGABRT" in str(done["proof"]["findings"])
    assert snapshot(clinic.venv) == before
    assert version_of(clinic) == "2.8.1"


def test_without_a_gpu_it_stays_not_verified_unless_a_kernel_is_required(clinic: Clinic) -> None:
    more = (
        "def flash_attn_func(q, k, v): ...\n"
        "torch.device = lambda *a: a\ntorch.cuda = types.SimpleNamespace(device_count=lambda: 0)"
    )
    clinic.flash("2.8.3", more="import types\n" + more)
    clinic.einops()
    before = snapshot(clinic.venv)
    arguments = ("fix", "--yes", "--wheelhouse", str(clinic.wheels), "--offline", "--json")
    assert document(clinic.run(*arguments, "--require-kernel"))["exit_code"] == 5
    assert snapshot(clinic.venv) == before
    done = document(clinic.run(*arguments))
    assert (done["exit_code"], done["state"]) == (0, "installed, not verified")
    assert "no GPU is visible" in done["why"][0]
    assert version_of(clinic) == "2.8.3"


def test_a_wheel_for_another_torch_is_sent_back_and_the_next_is_taken(clinic: Clinic) -> None:
    clinic.flash("2.8.3", symbol=FOREIGN)
    stock(clinic, "2.8.1")
    done = document(clinic.fix("--json"))
    assert version_of(clinic) == "2.8.1"
    assert FOREIGN in done["refused"][0]


def test_lying_damaged_and_foreign_wheels_are_refused_untouched(clinic: Clinic) -> None:
    clinic.einops()
    before = snapshot(clinic.venv)
    honest = clinic.flash("2.8.3")
    for disease in ("other python inside", "no elf", "truncated"):
        spoil(clinic, honest, disease)
        done = clinic.fix("--json")
        assert done.returncode == (2 if disease == "truncated" else 4), done.stdout
        assert snapshot(clinic.venv) == before, disease


def spoil(clinic: Clinic, wheel: Path, disease: str) -> None:
    body = wheel.read_bytes()
    wheel.unlink()
    if disease == "truncated":
        wheel.write_bytes(body[:-60])
        return
    name = "flash_attn_2_cuda.cpython-36m-x86_64-linux-gnu.so"
    files: dict[str, bytes | str] = {"flash_attn/__init__.py": ""}
    if disease == "no elf":
        files["flash_attn_2_cuda.so"] = b"not a library"
    else:
        files[name] = (clinic.folder / "made" / "2.8.3" / "flash_attn_2_cuda.so").read_bytes()
    build_wheel(clinic.wheels, "flash-attn", "2.8.3" + LABEL, files, tag=TAG, metadata_version="2.8.3")


def test_one_fix_at_a_time(clinic: Clinic) -> None:
    stock(clinic)
    from flash_doctor.install.target_state import locked

    with locked(clinic.site):
        refused = clinic.fix()
    assert refused.returncode == 2
    assert "another flash-doctor" in refused.stderr
    assert clinic.fix().returncode == 0


def test_interrupted_while_it_proves(clinic: Clinic) -> None:
    clinic.flash("2.8.3", more="import time; time.sleep(60)")
    clinic.einops()
    before = snapshot(clinic.venv)
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start_fix(clinic)
        wait_for(lambda: (clinic.site / "flash_attn").exists())
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
        assert process.returncode == 130, told
        assert "as it was before" in told
        assert snapshot(clinic.venv) == before


def start_fix(clinic: Clinic) -> subprocess.Popen[str]:
    from clinic import DOCTOR

    arguments = ["fix", "--yes", "--wheelhouse", str(clinic.wheels), "--offline", "--import-only"]
    return subprocess.Popen(
        [str(DOCTOR), *arguments, "--python", str(clinic.venv)],
        env=clinic.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(true: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


UNDO = re.compile(r"`flash-doctor rollback --python \S+ --unfinished`")


def test_killed_while_it_proves_the_next_command_says_so_and_brings_it_back(clinic: Clinic) -> None:
    clinic.flash("2.8.3", more="import time; time.sleep(60)")
    clinic.einops()
    before = snapshot(clinic.venv)
    process = start_fix(clinic)
    wait_for(lambda: (clinic.site / "flash_attn").exists())
    wait_for(lambda: list((clinic.site / FOLDER).glob("*/journal.json")))
    process.kill()
    process.communicate()
    assert (clinic.site / "flash_attn").exists()
    listed = json.loads(clinic.run("rollback", "--list", "--json").stdout)
    assert [one["finished"] for one in listed["fixes"]] == [False]
    checked = json.loads(clinic.run("check", "--json").stdout)
    assert "P409" in [finding["code"] for finding in checked["findings"]]
    assert UNDO.search(clinic.run("verify", "--import-only", "--timeout", "1").stderr)
    shelf = ("--wheelhouse", str(clinic.wheels), "--offline")
    assert "P409" in clinic.run("plan", *shelf).stdout
    assert UNDO.search(clinic.run("fix", "--dry-run", *shelf).stderr)
    assert UNDO.search(clinic.run("abi", "flash-attn").stderr)
    bundled = clinic.run("bundle", str(clinic.folder / "bag"), "--wheelhouse", str(clinic.wheels))
    assert UNDO.search(bundled.stderr)
    (clinic.folder / "run.yaml").write_text("flash_attention: true\n")
    assert UNDO.search(clinic.run("preflight", str(clinic.folder / "run.yaml")).stderr)
    assert "cut off" in clinic.run("rollback", "--unfinished").stdout
    assert snapshot(clinic.venv) == before


def test_refusals_name_their_reason(clinic: Clinic) -> None:
    stock(clinic, "2.8.1", "2.8.3")
    assert clinic.fix("--want", "flash-attn==2.8.1").returncode == 0
    update = ("--want", "flash-attn==2.8.3")
    with in_use(clinic):
        refused = clinic.fix(*update)
        assert "in use by 1 running process" in refused.stderr
    record = clinic.site / "flash_attn-2.8.1.dist-info" / "RECORD"
    text = record.read_text()
    record.unlink()
    assert "has no RECORD" in clinic.fix(*update).stderr
    record.write_text(text)
    (clinic.venv / "conda-meta").mkdir()
    meta = clinic.venv / "conda-meta" / "flash-attn-2.8.1-py311_0.json"
    meta.write_text("{}")
    assert f"conda remove --prefix {clinic.venv} flash-attn" in clinic.fix(*update).stderr
    meta.unlink()
    assert version_of(clinic) == "2.8.1"
    assert clinic.fix(*update).returncode == 0
    assert version_of(clinic) == "2.8.3"


def test_nothing_of_a_command_line_is_told(clinic: Clinic) -> None:
    """As root, of everybody: the files that go are held by a process with a token in its arguments."""
    stock(clinic, "2.8.1", "2.8.3")
    assert clinic.fix("--want", "flash-attn==2.8.1").returncode == 0
    holder = in_use(clinic)
    with holder:
        for refused in (
            clinic.fix("--want", "flash-attn==2.8.3"),
            clinic.fix("--want", "flash-attn==2.8.3", "--json"),
            clinic.run("rollback"),
            clinic.run("rollback", "--json"),
        ):
            assert refused.returncode == 2
            told = refused.stdout + refused.stderr
            assert f"process {holder.process.pid} (python" in told
            assert "), yours" in told
            assert not any(word in told for word in ("hf_", "--hf-token", "-B", "import flash_attn", "sleep"))


class in_use:
    """Another process that has imported the library."""

    def __init__(self, clinic: Clinic) -> None:
        self.python = str(clinic.venv / "bin" / "python")

    def __enter__(self) -> None:
        code = "import flash_attn, time; print(1, flush=True); time.sleep(60)"
        argv = [self.python, "-B", "-c", code, "--hf-token", "hf_abcdEFGHijklMNOPqrst"]
        environ = {**os.environ, "HF_TOKEN": "hf_zyxwVUTSrqpoNMLKjihg"}
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environ)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def read_only(clinic: Clinic) -> Iterator[Clinic]:
    """Nothing can be written into its folder of packages; root needs more than permissions for that."""
    stock(clinic)
    if os.geteuid() == 0:
        with mounted(clinic.site, "-o", "bind,ro", str(clinic.site)):
            yield clinic
    else:
        clinic.site.chmod(0o555)
        yield clinic
        clinic.site.chmod(0o755)


def test_a_read_only_target_is_refused(read_only: Clinic) -> None:
    before = snapshot(read_only.venv)
    done = read_only.fix()
    assert (done.returncode, "read-only" in done.stderr) == (2, True)
    assert snapshot(read_only.venv) == before


def plan_for(clinic: Clinic, url: str, wheel: Path, digest: str | None = "") -> Path:
    """A plan for a wheel at an address, with a hash that may be wrong or missing."""
    return write_plan(clinic, install_step("flash-attn", "2.8.3", wheel, url=url, digest=digest))


@pytest.fixture
def shop(clinic: Clinic) -> Iterator[tuple[Site, Path]]:
    wheel = clinic.flash("2.8.3")
    with serve(Site(files={f"/{wheel.name}": wheel.read_bytes()})) as site:
        yield site, wheel


def test_downloads_are_kept_resumed_and_held_to_their_hash(clinic: Clinic, shop: tuple[Site, Path]) -> None:
    site, wheel = shop
    url = f"{site.url}/{wheel.name.replace('+', '%2B')}"
    site.files[f"/{wheel.name.replace('+', '%2B')}"] = wheel.read_bytes()
    before = snapshot(clinic.venv)
    wrong = clinic.run("fix", "--yes", "--import-only", "--plan", str(plan_for(clinic, url, wheel, "0" * 64)), "--json")
    assert (wrong.returncode, snapshot(clinic.venv)) == (4, before)
    assert "not the file that was promised" in wrong.stdout
    site.cuts, site.failures = [1000, 2000], [503]
    plan = plan_for(clinic, url, wheel)
    done = document(clinic.run("fix", "--yes", "--import-only", "--plan", str(plan), "--json"))
    assert done["state"] == "installed and verified"
    origin = json.loads((clinic.site / "flash_attn-2.8.3.dist-info" / "direct_url.json").read_text())
    assert origin["url"] == url
    assert document(clinic.run("fix", "--yes", "--plan", str(plan), "--json"))["state"] == "nothing to do"
    assert clinic.run("rollback").returncode == 0
    asked = len(site.requests)
    assert clinic.run("fix", "--yes", "--import-only", "--plan", str(plan)).returncode == 0
    assert len(site.requests) == asked, "the cache has it"


def test_a_file_without_a_hash_needs_a_word_and_is_pinned_then(clinic: Clinic, shop: tuple[Site, Path]) -> None:
    site, wheel = shop
    name = wheel.name.replace("+", "%2B")
    site.files[f"/{name}"] = wheel.read_bytes()
    arguments = ("fix", "--yes", "--import-only", "--plan", str(plan_for(clinic, f"{site.url}/{name}", wheel, None)))
    refused = clinic.run(*arguments)
    assert refused.returncode == 2
    assert "--trust-first-download" in refused.stderr
    done = document(clinic.run(*arguments, "--trust-first-download", "--json"))
    (change,) = done["sheet"]["changes"]
    assert (change["sha256"], change["hash_state"]) == (sha256(wheel), "pinned")
    assert clinic.run("rollback").returncode == 0
    site.files[f"/{name}"] = wheel.read_bytes() + b"x"
    for path in (clinic.folder / "cache").rglob("*.whl"):
        path.unlink()
    replaced = clinic.run(*arguments)
    assert replaced.returncode == 4, "the address is held to its first hash"


def test_a_mirror_comes_first_and_the_publisher_after_it(clinic: Clinic, shop: tuple[Site, Path]) -> None:
    site, wheel = shop
    name = wheel.name.replace("+", "%2B")
    with serve(Site(files={f"/mirror/{name}": wheel.read_bytes()})) as mirror:
        clinic.environment["FLASH_DOCTOR_MIRROR"] = f"{mirror.url}/mirror"
        plan = plan_for(clinic, f"{site.url}/{name}", wheel)
        assert clinic.run("fix", "--yes", "--import-only", "--plan", str(plan)).returncode == 0
        assert (len(mirror.requests), len(site.requests)) == (1, 0)


def test_a_missing_file_or_server_leaves_everything_and_a_redirect_is_followed(
    clinic: Clinic, shop: tuple[Site, Path]
) -> None:
    site, wheel = shop
    name = wheel.name.replace("+", "%2B")
    before = snapshot(clinic.venv)
    for url, words in ((f"{site.url}/absent/{name}", "answered 404"), (f"http://127.0.0.1:9/{name}", "not be reached")):
        plan = plan_for(clinic, url, wheel)
        failed = clinic.run("fix", "--yes", "--import-only", "--plan", str(plan))
        assert failed.returncode == 4
        assert words in failed.stderr
    assert snapshot(clinic.venv) == before
    site.files[f"/real/{name}"], site.redirects[f"/old/{name}"] = wheel.read_bytes(), f"/real/{name}"
    plan = plan_for(clinic, f"{site.url}/old/{name}", wheel)
    assert clinic.run("fix", "--yes", "--import-only", "--plan", str(plan)).returncode == 0


def test_permissions_of_what_comes_in_are_the_installers(clinic: Clinic) -> None:
    stock(clinic)
    assert clinic.fix().returncode == 0
    mode = stat.S_IMODE((clinic.site / "flash_attn" / "__init__.py").stat().st_mode)
    assert mode & 0o444


def test_two_fixes_keep_one_way_back(clinic: Clinic) -> None:
    stock(clinic, "2.8.1", "2.8.3")
    assert clinic.fix("--want", "flash-attn==2.8.1").returncode == 0
    middle = snapshot(clinic.venv)
    assert clinic.fix("--want", "flash-attn==2.8.3").returncode == 0
    assert len(list((clinic.site / FOLDER).iterdir())) == 1
    assert clinic.run("rollback").returncode == 0
    left = {name: entry for name, entry in middle.items() if FOLDER not in name}
    assert snapshot(clinic.venv) == left


def test_a_target_changed_since_is_not_rolled_back(clinic: Clinic) -> None:
    stock(clinic)
    assert clinic.fix().returncode == 0
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([str(uv), "pip", "uninstall", "-q", "--python", str(clinic.venv), "flash-attn"], check=True)
    refused = clinic.run("rollback")
    assert refused.returncode == 2
    assert "changed since" in refused.stderr
