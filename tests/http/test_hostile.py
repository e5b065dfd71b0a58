"""Servers that never end, answer another question, or pack what they should not; and what a mirror may do."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import time
from typing import TYPE_CHECKING

import pytest

from flash_doctor.install.fetch import Sources, WantedFile, fetch
from flash_doctor.system import download as downloads, http
from flash_doctor.system.download import HashMismatch, download
from servers import Proxy, Site, proxying, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 1200
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(files={"/wheel": BODY, "/source.tar.gz": BODY})) as site:
        yield site


def test_a_server_that_drips_is_given_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SILENCE_SECONDS", 0.2)
    site.slices, site.pause = len(BODY), 0.04
    start = time.monotonic()
    with pytest.raises(http.HttpError, match="bytes came in 0 seconds"):
        download(site.url + "/wheel", tmp_path / "w", sha256=SHA)
    assert time.monotonic() - start < 5
    assert len(site.requests) == http.ATTEMPTS


def test_an_answer_without_end_is_cut_off(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "LARGEST", 1 << 20)
    site.endless = True
    with pytest.raises(http.HttpError, match="more than the 1048576 bytes"):
        download(site.url + "/wheel", tmp_path / "w", sha256=None)
    with pytest.raises(http.HttpError, match="more than 1000 bytes"):
        http.get_bytes(site.url + "/wheel", limit=1000)
    assert list(tmp_path.iterdir()) == []


def test_another_size_than_promised_is_another_file(site: Site, tmp_path: Path) -> None:
    with pytest.raises(HashMismatch) as caught:
        download(site.url + "/wheel", tmp_path / "w", sha256=None, size=len(BODY) + 1)
    assert caught.value.evidence == (f"promised {len(BODY) + 1} bytes", f"received {len(BODY)} bytes")


def test_a_part_that_is_whole_already_is_no_dead_end(site: Site, tmp_path: Path) -> None:
    (tmp_path / "w.part").write_bytes(BODY)
    (tmp_path / "w.part.tag").write_text(f'"{hashlib.md5(BODY).hexdigest()}"')
    assert download(site.url + "/wheel", tmp_path / "w", sha256=SHA).size == len(BODY)
    assert [wanted for _, wanted in site.requests] == [f"bytes={len(BODY)}-", None]


@pytest.mark.parametrize("answered", ["bytes 0-9/307200", "rubbish", ""])
def test_another_piece_than_was_asked_for_is_not_appended(site: Site, tmp_path: Path, answered: str) -> None:
    site.cuts = [200_000]
    site.headers = {"Content-Range": answered}
    assert download(site.url + "/wheel", tmp_path / "w", sha256=None).sha256 == SHA


@pytest.mark.parametrize("length", ["²", "7" * 5000, "-5", ""])
def test_a_length_that_is_no_number_is_not_believed(site: Site, tmp_path: Path, length: str) -> None:
    site.headers = {"Content-Length": length}
    assert download(site.url + "/wheel", tmp_path / "w", sha256=SHA).size == len(BODY)


@pytest.mark.parametrize(("name", "arrives"), [("wheel", BODY), ("source.tar.gz", gzip.compress(BODY, 1))])
def test_what_is_packed_on_the_way_is_unpacked_and_what_is_packed_itself_is_not(
    site: Site, tmp_path: Path, name: str, arrives: bytes
) -> None:
    site.packed, site.cuts = True, [600]
    download(f"{site.url}/{name}", tmp_path / "w", sha256=None)
    found = (tmp_path / "w").read_bytes()
    assert (found if name == "wheel" else gzip.decompress(found)) == BODY
    assert len(found) == len(arrives)


def test_a_server_is_not_asked_again_before_it_wants(site: Site, tmp_path: Path) -> None:
    site.failures, site.retry_after = [503], "1"
    start = time.monotonic()
    download(site.url + "/wheel", tmp_path / "w", sha256=SHA)
    assert time.monotonic() - start >= 1


def test_a_date_to_come_back_is_told(site: Site, tmp_path: Path) -> None:
    site.failures, site.retry_after = [503], email.utils.formatdate(time.time() + 1800, usegmt=True)
    with pytest.raises(http.HttpError) as caught:
        download(site.url + "/wheel", tmp_path / "w", sha256=SHA)
    assert "30 minutes" in caught.value.advice
    assert len(site.requests) == 1


def test_plain_http_never_leaves_this_machine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxying(Proxy()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert http.get_bytes(site.url + "/wheel", limit=1 << 20) == BODY


def test_a_login_of_the_netrc_is_sent(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    http.get_bytes(site.url + "/wheel", limit=1 << 20)
    assert site.logins == ["me:mine"]


@pytest.mark.parametrize(
    ("index", "sent"),
    [
        ("https://elsewhere.invalid/simple corp={login}/simple", "me:p@ss"),
        ("{login}0/simple", ""),
        ("https://me:p%40ss@elsewhere.invalid/simple", ""),
        ("{plain}/simple", ""),
    ],
)
def test_the_login_of_an_index_is_for_its_server_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch, index: str, sent: str
) -> None:
    login = site.url.replace("//", "//me:p%40ss@")
    monkeypatch.setenv("UV_INDEX", index.format(login=login, plain=site.url))
    http.get_bytes(site.url + "/wheel", limit=1 << 20)
    http.get_bytes(site.url.replace("//", "//own:one@") + "/wheel", limit=1 << 20)
    assert site.logins == [sent, "own:one"]


def test_a_mirror_that_is_down_is_told_only_when_the_publisher_fails_too(site: Site, tmp_path: Path) -> None:
    sources = Sources(cache=tmp_path, mirror="http://127.0.0.1:9/m")
    assert fetch(WantedFile(url=site.url + "/wheel", sha256=SHA), sources).size == len(BODY)
    with pytest.raises(http.HttpError) as caught:
        fetch(WantedFile(url=site.url + "/absent", sha256="0" * 64), sources)
    assert "the mirror, asked first: http://127.0.0.1:9/m/absent could not be reached" in caught.value.evidence[-1]
