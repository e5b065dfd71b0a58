"""Downloads and range reads against a real server that cuts, fails, redirects and lies about lengths."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.errors import BadInput, DoctorError
from flash_doctor.system import http
from flash_doctor.system.download import HashMismatch, download
from flash_doctor.system.ranges import RangeReader
from flash_doctor.system.url import public
from servers import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 9000
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(files={"/wheel": BODY, "/json": b'{"a": [1]}', "/rubbish": b"<html>"})) as site:
        yield site


def test_a_download_is_hashed_and_arrives_by_rename(site: Site, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    done = download(site.url + "/wheel", tmp_path / "w", sha256=SHA.upper(), progress=lambda *n: told.append(n))
    assert (done.sha256, done.size) == (SHA, len(BODY))
    assert (tmp_path / "w").read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_a_cut_download_is_continued_not_repeated(site: Site, tmp_path: Path) -> None:
    site.cuts = [1_000_000, 300_000]
    assert download(site.url + "/wheel", tmp_path / "w", sha256=SHA).size == len(BODY)
    starts = [wanted for _, wanted in site.requests]
    assert starts[0] is None
    begins = [int(wanted.removeprefix("bytes=").removesuffix("-")) for wanted in starts[1:] if wanted]
    assert 900_000 < begins[0] <= 1_000_000
    assert begins[0] + 200_000 < begins[1] <= 1_300_000


def test_without_a_validator_a_cut_download_starts_again(site: Site, tmp_path: Path) -> None:
    site.etag, site.cuts = False, [1_000_000]
    assert download(site.url + "/wheel", tmp_path / "w", sha256=None).sha256 == SHA
    assert [wanted for _, wanted in site.requests] == [None, None]


def test_a_file_that_changed_between_two_attempts_is_not_mixed(site: Site, tmp_path: Path) -> None:
    site.cuts = [1_000_000] + [0] * http.ATTEMPTS
    with pytest.raises(http.HttpError):
        download(site.url + "/wheel", tmp_path / "w", sha256=None)
    site.files["/wheel"], site.cuts = BODY[::-1], []
    download(site.url + "/wheel", tmp_path / "w", sha256=None)
    assert (tmp_path / "w").read_bytes() == BODY[::-1]


def test_another_file_than_promised_is_refused_and_deleted(site: Site, tmp_path: Path) -> None:
    with pytest.raises(HashMismatch) as caught:
        download(site.url + "/wheel", tmp_path / "w", sha256="0" * 64)
    assert SHA in caught.value.evidence[1]
    assert list(tmp_path.iterdir()) == []


def test_server_errors_are_tried_again_and_missing_files_are_not(site: Site, tmp_path: Path) -> None:
    site.failures = [503, 500]
    download(site.url + "/wheel", tmp_path / "w", sha256=SHA)
    site.requests.clear()
    with pytest.raises(http.HttpError) as caught:
        download(site.url + "/absent", tmp_path / "x", sha256=None)
    assert caught.value.status == 404
    assert len(site.requests) == 1


def test_a_wrong_length_is_an_error_not_a_short_file(site: Site, tmp_path: Path) -> None:
    site.announce = len(BODY) + 7
    with pytest.raises(http.HttpError):
        download(site.url + "/wheel", tmp_path / "w", sha256=None)
    assert not (tmp_path / "w").exists()


def test_redirects_are_followed(site: Site, tmp_path: Path) -> None:
    site.redirects["/latest"] = "/wheel"
    assert download(site.url + "/latest", tmp_path / "w", sha256=SHA).size == len(BODY)


def test_local_files_are_hashed_too(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(BODY)
    assert download((tmp_path / "a b").as_uri(), tmp_path / "w", sha256=SHA).size == len(BODY)
    with pytest.raises(http.HttpError):
        download((tmp_path / "absent").as_uri(), tmp_path / "x", sha256=None)


@pytest.mark.parametrize("url", ["http://example.invalid/x", "ftp://example.invalid/x", "x", ""])
def test_only_https_and_files_are_opened(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        download(url, tmp_path / "w", sha256=None)


def test_an_answer_is_bounded(site: Site) -> None:
    assert http.get_bytes(site.url + "/json", limit=1000) == site.files["/json"]
    with pytest.raises(http.HttpError):
        http.get_bytes(site.url + "/wheel", limit=1000)


def test_ranges_are_read_and_counted(site: Site) -> None:
    reader = RangeReader(site.url + "/wheel")
    assert reader.size == len(BODY)
    assert reader.read(1000, 24) == BODY[1000:1024]
    assert reader.read(len(BODY) - 3, 10) == BODY[-3:]
    assert reader.read(len(BODY), 10) == b""
    assert reader.received == 27


@pytest.mark.parametrize("flaw", [{"ranges": False}, {"headers": {"Content-Range": "bytes 0-0/²"}}])
def test_a_server_without_ranges_is_told(site: Site, flaw: dict[str, Any]) -> None:
    site.__dict__.update(flaw)
    with pytest.raises(http.HttpError, match="does not answer ranges"):
        RangeReader(site.url + "/wheel")


def test_an_unreachable_server_is_one_sentence() -> None:
    with pytest.raises(DoctorError, match=r"could not be reached: .*refused"):
        http.get_bytes("http://127.0.0.1:9/x", limit=10)


def test_secrets_of_an_address_are_not_shown() -> None:
    assert public("https://me:secret@example.invalid:8443/a/b?token=x#y") == "https://example.invalid:8443/a/b"
