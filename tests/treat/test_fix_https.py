"""`doctor fix` from real https servers that cut, lie, send elsewhere or are not who they say; and through proxies."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from authority import NETWORK, Authority
from clinic import DOCTOR, Clinic, install_step, sha256, write_plan
from servers import Proxy, Site, proxying, serve
from trees import snapshot
from wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "s3cr3t-t0k3n"
LOGIN = f"someone:{SECRET}"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """An authority that nobody knows yet, on a machine without proxies."""
    with pytest.MonkeyPatch.context() as patch:
        for name in NETWORK:
            patch.delenv(name, raising=False)
        yield Authority(tmp_path_factory.mktemp("authority"))


@dataclass
class Shop:
    """A clinic without torch, a wheel for it, and the https server that has the wheel."""

    clinic: Clinic
    ca: Authority
    wheel: Path
    site: Site

    @property
    def path(self) -> str:
        return f"/{self.wheel.name}"

    @property
    def body(self) -> bytes:
        return self.wheel.read_bytes()

    def plan(self, url: str = "", **changed: Any) -> Path:
        step = install_step("einops", "0.8.1", self.wheel, url=url or self.site.url + self.path)
        return write_plan(self.clinic, step | changed)

    def fix(self, url: str = "", **changed: Any) -> subprocess.CompletedProcess[str]:
        return self.clinic.run("fix", "--yes", "--json", "--plan", str(self.plan(url, **changed)))


@contextmanager
def shop_in(folder: Path, ca: Authority) -> Iterator[Shop]:
    clinic = Clinic(folder, {"SSL_CERT_FILE": str(ca.bundle)}, stub=False)
    ballast = random.Random(5).randbytes(200_000)  # does not shrink: a few chunks, which can be cut
    files: dict[str, bytes | str] = {"einops/__init__.py": "__version__ = '0.8.1'\n", "einops/ballast": ballast}
    wheel = build_wheel(clinic.folder / "shelf", "einops", "0.8.1", files)
    with serve(Site(files={f"/{wheel.name}": wheel.read_bytes()}), ca.good) as site:
        yield Shop(clinic, ca, wheel, site)


@pytest.fixture
def shop(tmp_path: Path, ca: Authority) -> Iterator[Shop]:
    with shop_in(tmp_path, ca) as shop:
        yield shop


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[Shop]:
    """One for all the downloads that fail: each leaves the target as it was."""
    with shop_in(tmp_path_factory.mktemp("shop"), ca) as shop:
        yield shop


def treated(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["state"] in {"installed, not verified", "installed and verified"}, found
    return found


def change(**values: Any) -> Callable[[Site], None]:
    """A server that is like that from now on."""
    return lambda site: site.__dict__.update(values)


@pytest.mark.parametrize(
    "mood",
    [
        change(),
        change(cuts=[40_000, 30_000, 20_000]),
        change(cuts=[40_000], ranges=False),
        change(cuts=[40_000], etag=False),
        change(failures=[500]),
        change(failures=[429], retry_after="0"),
        change(slices=8, pause=0.02),
        change(packed=True),
        change(headers={"Content-Length": "7" * 5000}),
    ],
    ids=["well", "cut again and again", "no ranges", "no etag", "500", "429", "slow", "gzip", "no number"],
)
def test_it_arrives(shop: Shop, mood: Callable[[Site], None]) -> None:
    mood(shop.site)
    (told,) = treated(shop.fix())["sheet"]["changes"]
    assert told["sha256"] == sha256(shop.wheel)
    assert (shop.clinic.site / "einops" / "__init__.py").read_text() == "__version__ = '0.8.1'\n"


@pytest.mark.parametrize("replaced", [False, True])
def test_killed_while_it_fetches_the_next_run_goes_on_unless_the_file_is_another(shop: Shop, replaced: bool) -> None:
    before = snapshot(shop.clinic.venv)
    shop.site.slices, shop.site.pause = 3, 0.3
    doctor = start(shop.clinic, "fix", "--yes", "--plan", str(shop.plan()))
    wait_for(lambda: any(part.stat().st_size for part in shop.clinic.folder.glob("cache/incoming/*/*.part")))
    doctor.kill()
    doctor.communicate()
    assert snapshot(shop.clinic.venv) == before
    shop.site.pause = 0
    shop.site.files[shop.path] = bytes(len(shop.body)) if replaced else shop.body
    done = shop.fix()
    wanted = shop.site.requests[-1][1] or ""
    assert int(wanted.removeprefix("bytes=").removesuffix("-")) > 0
    if replaced:
        assert "not the file that was promised" in done.stdout
        assert snapshot(shop.clinic.venv) == before
        shop.site.files[shop.path] = shop.body
        done = shop.fix()
    treated(done)


def start(clinic: Clinic, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(DOCTOR), *arguments, "--python", str(clinic.venv)], env=clinic.environ(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


@dataclass
class Refusal:
    """A mood of the server, what the message has to say, and the exit code."""

    mood: Callable[[Site], None]
    words: tuple[str, ...]
    code: int = 4


REFUSALS = {
    "404": Refusal(change(files={}), ("answered 404",)),
    "403": Refusal(change(failures=[403]), ("answered 403", "~/.netrc")),
    "429 for an hour": Refusal(change(failures=[429], retry_after="3600"), ("answered 429", "60 minutes")),
    "longer": Refusal(lambda site: site.files.update({p: b + b"x" for p, b in site.files.items()}), ("more than the",)),
    "shorter": Refusal(lambda site: site.files.update({p: b[:-9] for p, b in site.files.items()}), ("not the file",)),
    "endless": Refusal(change(endless=True), ("more than the",)),
    "length of 10**30": Refusal(change(headers={"Content-Length": str(10**30)}), ("more than the",)),
    "header flood": Refusal(change(headers={f"X-{n}": "x" for n in range(200)}), ("more headers",)),
    "redirect loop": Refusal(lambda site: site.redirects.update({p: p for p in site.files}), ("circles",)),
    "redirect to http": Refusal(
        lambda site: site.redirects.update({p: site.url.replace("https", "http") + p for p in site.files}),
        ("sends on to http://127.0.0.1", "not https"),
    ),
    "redirect to file": Refusal(
        lambda site: site.redirects.update(dict.fromkeys(site.files, "file:///etc/hostname")), ("not https",)
    ),
}


@pytest.fixture
def afresh(refusing: Shop) -> Shop:
    """The same server, well again, and nothing downloaded."""
    fresh = Site(files={refusing.path: refusing.body}, url=refusing.site.url)
    refusing.site.__dict__.update(fresh.__dict__)
    return refusing


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_download_says_why_and_changes_nothing(afresh: Shop, name: str) -> None:
    case, before = REFUSALS[name], snapshot(afresh.clinic.venv)
    case.mood(afresh.site)
    done = afresh.fix()
    assert done.returncode == case.code, done.stdout
    assert all(words in done.stdout for words in case.words), done.stdout
    assert snapshot(afresh.clinic.venv) == before
    assert len(afresh.site.requests) <= 12


CERTIFICATES = {
    "untrusted": ((), 1, False, ("signed by nobody that is trusted", "SSL_CERT_FILE=")),
    "expired": ((), -1, True, ("has expired", "clock says 20")),
    "another host": (("example.invalid",), 1, True, ("is for another host", "127.0.0.1")),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_certificate_that_does_not_convince_is_explained(afresh: Shop, name: str, ca: Authority) -> None:
    names, days, known, words = CERTIFICATES[name]
    before = snapshot(afresh.clinic.venv)
    clinic, path = afresh.clinic, afresh.path
    with serve(Site(files={path: afresh.body}), ca.server(*names, days=days)) as site:
        trusted = {"SSL_CERT_FILE": str(ca.bundle) if known else ""}
        shop = Shop(Clinic(clinic.folder, clinic.environment | trusted, stub=False), ca, afresh.wheel, site)
        done = shop.fix()
    assert (done.returncode, site.requests) == (4, [])
    assert all(word in done.stdout for word in words), done.stdout
    assert snapshot(clinic.venv) == before


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.invalid/a.whl", "only https and file addresses"),
        (f"ftp://{LOGIN}@example.invalid/a.whl", "only https and file addresses"),
        ("https:///a", "it names no host"),
        (f"https://{LOGIN}@[::1/a.whl", "it names no host"),
        (f"https://{LOGIN}@example.invalid:port/a.whl", "it names no host"),
        (f"https://{LOGIN.replace('-', '/')}@example.invalid/a.whl", "it has signs that do not belong there"),
    ],
)
def test_what_is_no_https_address_is_refused(afresh: Shop, url: str, words: str) -> None:
    done = afresh.fix(url)
    assert done.returncode == 2
    assert words in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_a_redirect_to_another_https_host_is_followed_without_the_login(shop: Shop) -> None:
    with serve(Site(files={"/real.whl": shop.body}), shop.ca.good) as other:
        shop.site.redirects[shop.path] = other.url.replace("127.0.0.1", "localhost") + "/real.whl"
        treated(shop.fix(shop.site.url.replace("//", f"//{LOGIN}@") + shop.path))
    assert (shop.site.logins, other.logins) == ([LOGIN], [""])


def test_secrets_of_addresses_stay_where_they_are(shop: Shop) -> None:
    url = shop.site.url.replace("//", f"//{LOGIN}@") + shop.path + f"?token={SECRET}"
    shop.site.files[f"{shop.path}?token={SECRET}"] = shop.body
    with proxying(Proxy(login=LOGIN)) as proxy:
        shop.clinic.environment |= {
            "HTTPS_PROXY": proxy.with_login(LOGIN),
            "FLASH_DOCTOR_MIRROR": shop.site.url.replace("//", f"//{LOGIN}@") + "/mirror",
        }
        failed = shop.fix(url + "&not=there")
        done = shop.fix(url, sha256=None)
        trusted = shop.clinic.run(
            "fix", "--yes", "--json", "--trust-first-download", "--plan", str(shop.plan(url, sha256=None))
        )
        again = shop.fix(url)
        packed = shop.clinic.run("bundle", str(shop.clinic.folder / "bag"), "--plan", str(shop.plan(url)))
    assert (failed.returncode, done.returncode, packed.returncode) == (4, 2, 0)
    assert "the mirror, asked first" in failed.stdout
    treated(trusted)
    assert json.loads(again.stdout)["state"] == "nothing to do"
    assert LOGIN in shop.site.logins
    (shop.clinic.folder / "plan.json").unlink()
    told = "".join(run.stdout + run.stderr for run in (failed, done, trusted, again, packed))
    assert SECRET not in told
    assert tell_tales(shop.clinic.folder) == []


def tell_tales(folder: Path) -> list[Path]:
    """Files that hold the secret."""
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_proxy_is_used_and_spared(shop: Shop) -> None:
    with proxying(Proxy()) as proxy:
        shop.clinic.environment |= {"HTTPS_PROXY": proxy.url, "NO_PROXY": "127.0.0.1"}
        assert shop.fix(shop.site.url + "/absent" + shop.path).returncode == 4
        assert proxy.tunnels == []
        shop.clinic.environment["NO_PROXY"] = "elsewhere.invalid"
        treated(shop.fix())
    assert proxy.tunnels == [shop.site.url.removeprefix("https://")]


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (
            Proxy(login=LOGIN),
            ("asks for a user name and a password", 'answered 407 Proxy Authentication Required"', "HTTPS_PROXY="),
        ),
        (Proxy(refuses=403), ("refuses to connect", "NO_PROXY=")),
    ],
    ids=["password", "forbidden"],
)
def test_a_proxy_that_refuses_is_named(afresh: Shop, proxy: Proxy, words: tuple[str, ...]) -> None:
    with proxying(proxy):
        environment = afresh.clinic.environment | {"HTTPS_PROXY": proxy.with_login(f"other:{SECRET}")}
        shop = Shop(Clinic(afresh.clinic.folder, environment, stub=False), afresh.ca, afresh.wheel, afresh.site)
        done = shop.fix()
    assert done.returncode == 4
    assert all(word in done.stdout for word in (*words, proxy.url)), done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert afresh.site.requests == []


def test_a_mirror_with_another_file_is_passed_over(shop: Shop) -> None:
    with serve(Site(files={f"/m/{shop.wheel.name}": bytes(len(shop.body))}), shop.ca.good) as mirror:
        shop.clinic.environment["FLASH_DOCTOR_MIRROR"] = f"{mirror.url}/m/"
        treated(shop.fix())
    assert (len(mirror.requests), len(shop.site.requests)) == (1, 1)


def test_two_doctors_fetch_a_file_once(shop: Shop) -> None:
    shop.site.slices, shop.site.pause = 10, 0.05
    plan = str(shop.plan())
    bags = [shop.clinic.folder / name for name in ("one", "two")]
    doctors = [start(shop.clinic, "bundle", str(bag), "--plan", plan) for bag in bags]
    told = [doctor.communicate()[1] for doctor in doctors]
    assert [doctor.returncode for doctor in doctors] == [0, 0], told
    assert len(shop.site.requests) == 1
    assert {sha256(bag / shop.wheel.name) for bag in bags} == {sha256(shop.wheel)}
