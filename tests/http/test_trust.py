"""Whose certificates are believed: the variables that people set, and what is said when they do not help."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.system import http
from flash_doctor.system.http_errors import Authorities, trouble_of
from servers import Proxy, Site, proxying, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from authority import Authority


@pytest.fixture
def site(ca: Authority) -> Iterator[Site]:
    with serve(Site(files={"/x": b"it"}), ca.good) as site:
        yield site


def read(site: Site) -> bytes:
    return http.get_bytes(site.url + "/x", limit=10)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE"])
def test_an_authority_is_named_by_a_variable(
    site: Site, ca: Authority, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(http.HttpError, match="signed by nobody that is trusted here") as caught:
        read(site)
    assert caught.value.evidence[-1] == "checked against the usual authorities"
    monkeypatch.setenv(variable, str(ca.bundle))
    assert read(site) == b"it"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to name the file by its hash")
def test_an_authority_is_named_by_a_folder(
    site: Site, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", str(ca.bundle)], check=True, capture_output=True, text=True
    )
    shutil.copyfile(ca.bundle, tmp_path / f"{hashed.stdout.strip()}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert read(site) == b"it"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_variable_that_names_nothing_is_named(site: Site, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/nonexistent/ca.pem")
    with pytest.raises(BadInput, match=f"{variable} names certificates that are not there: /nonexistent/ca.pem"):
        read(site)


def test_a_missing_file_of_openssl_is_passed_over_as_openssl_does(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    with pytest.raises(http.HttpError, match="signed by nobody that is trusted here") as caught:
        read(site)
    assert "SSL_CERT_FILE names /nonexistent/ca.pem, which is not there" in caught.value.evidence[-1]


def test_a_file_without_certificates_is_told(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    with pytest.raises(http.HttpError) as caught:
        read(site)
    assert "empty.pem" in str(caught.value.evidence)


def test_a_server_that_speaks_no_tls_is_told_once() -> None:
    with serve(Site()) as plain, pytest.raises(http.HttpError) as caught:
        http.get_bytes(plain.url.replace("http:", "https:") + "/x", limit=10)
    assert "does not speak TLS" in caught.value.message
    assert plain.requests == []


def test_a_certificate_of_tomorrow_points_at_the_clock() -> None:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code, error.verify_message = 9, "certificate is not yet valid"
    trouble = trouble_of(error, Authorities(), None)
    assert trouble.what == "its certificate is not valid yet"
    assert "this machine's clock says" in trouble.evidence[1]


@pytest.mark.parametrize("through", ["a proxy", "nothing"])
def test_a_name_that_nobody_knows(through: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if through == "a proxy":
        monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.invalid:3128")
    with pytest.raises(http.HttpError, match="name is not known here") as caught:
        http.get_bytes("https://host.invalid/x", limit=10)
    assert ("proxy.invalid:3128" in str(caught.value.evidence)) is (through == "a proxy")
    assert "secret" not in str(caught.value.evidence)


def test_a_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(http.HttpError, match="refused") as caught:
        http.get_bytes("https://host.invalid/x", limit=10)
    assert "through the proxy http://127.0.0.1:9" in caught.value.evidence[0]


def test_an_answer_comes_through_a_proxy_too(site: Site, ca: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.bundle))
    site.files["/x"] = b"[1]"
    with proxying(Proxy(login="me:p%40ss".replace("%40", "@"))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.with_login("me:p%40ss"))
        assert read(site) == b"[1]"
