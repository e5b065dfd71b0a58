"""Why an address could not be reached, in plain words: read from the chain of errors that a connection leaves."""

from __future__ import annotations

import datetime
import http.client
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.system.redact import secrets
from flash_doctor.system.url import public

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# in the order of who is heard: requests, curl, pip, then OpenSSL's own (conda, uv, many company images)
_NAMED = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR")
_STRICT = _NAMED[:2]
# OpenSSL, include/openssl/x509_vfy.h: X509_V_ERR_...
_NOT_YET, _EXPIRED, _WRONG_HOST = 9, 10, {62, 64}
# OpenSSL's reasons, by the names that Python gives them
_EMPTY = {"NO_CERTIFICATE_OR_CRL_FOUND", "NO_START_LINE"}
_PLAIN = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}
_TUNNEL = re.compile(r"Tunnel connection failed: (?P<status>\d{3})(?P<reason>[^')]*)")
_ASKS_FOR_LOGIN = "407"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """Whose signatures are believed: a file or folder of certificates, and the variable that names it.

    The path is empty where nothing is named, or (`missing`) only what is not there.
    """

    path: str = ""
    variable: str = ""
    missing: str = ""

    @property
    def words(self) -> str:
        if self.path:
            return f"the certificates in {self.path} (named by {self.variable})"
        return f"the usual authorities{self.missing and f'; {self.missing}, which is not there'}"


def authorities(environ: Mapping[str, str]) -> Authorities:
    """What the environment names; an empty path where it names nothing.

    One of the others that is missing is passed over, as OpenSSL itself does.

    Raises:
        BadInput: REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names what is not there.
    """
    missing = ""
    for variable in _NAMED:
        path = environ.get(variable, "")
        if path and Path(path).exists():
            return Authorities(path=path, variable=variable)
        if path and variable in _STRICT:
            message = f"{variable} names certificates that are not there: {path}"
            raise BadInput(message, advice=f"Correct the path, or take it away: unset {variable}")
        missing = missing or (path and f"{variable} names {path}")
    return Authorities(missing=missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is wrong, how we know, what to do; and whether another try is worth it."""

    what: str
    evidence: tuple[str, ...] = ()
    advice: str = ""
    again: bool = False


def trouble_of(error: BaseException, trusted: Authorities, proxy: str | None) -> Trouble:
    """What the errors mean; `proxy` is the address of the one that stood between."""
    chain = list(_chain(error))
    known = (_recognised(link, trusted, proxy) for link in chain)
    found = next((trouble for trouble in known if trouble), None)
    return found or Trouble(what=reason(chain[-1]), evidence=_through(proxy), again=True)


def _recognised(link: BaseException, trusted: Authorities, proxy: str | None) -> Trouble | None:
    if isinstance(link, ssl.SSLCertVerificationError):
        return _distrust(link, trusted)
    if isinstance(link, ssl.SSLError):
        return _no_tls(link, trusted)
    if found := _TUNNEL.search(str(link)):
        return _refused_by_proxy(found["status"], found["reason"].strip(), public(proxy or ""))
    if type(link) in (http.client.HTTPException, http.client.LineTooLong):
        return Trouble(what="it answers with more headers than anybody needs", evidence=(str(link),))
    if isinstance(link, socket.gaierror):
        what = "the proxy's name is not known here" if proxy else "its name is not known here"
        return Trouble(what=what, evidence=_through(proxy, str(link)), advice=_NO_NAME, again=True)
    return None


_NO_NAME = "Check the spelling and the network; without a network: --offline with --wheelhouse DIR, or --bundle DIR"


def reason(error: BaseException) -> str:
    """The innermost sentence of an error, which others wrap in three more, on one line and without a login."""
    inner = list(_chain(error))[-1]
    text = secrets(str(inner)).rpartition(": ")[2].strip("()' ")
    return text[:200] or type(inner).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, then what it came from, to the innermost."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _through(proxy: str | None, *more: str) -> tuple[str, ...]:
    return (
        *more,
        *((f"asked through the proxy {public(proxy)}, which HTTPS_PROXY or ALL_PROXY names",) if proxy else ()),
    )


def _distrust(error: ssl.SSLCertVerificationError, trusted: Authorities) -> Trouble:
    code = error.verify_code
    if code in (_NOT_YET, _EXPIRED):
        what = "its certificate is not valid yet" if code == _NOT_YET else "its certificate has expired"
        advice = "If that clock is right, only the server's keeper can mend it; another source: --wheelhouse DIR"
        return Trouble(what=what, evidence=(error.verify_message, _clock()), advice=advice)
    if code in _WRONG_HOST:
        advice = "Check the address; a network that redirects everything (a login page, a proxy) does this too."
        return Trouble(what="its certificate is for another host", evidence=(error.verify_message,), advice=advice)
    advice = (
        "Behind a company's proxy, name the file with the company's CA certificate: "
        "export SSL_CERT_FILE=/path/to/ca.pem (or REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE)"
    )
    evidence = (error.verify_message, f"checked against {trusted.words}")
    return Trouble(what="its certificate is signed by nobody that is trusted here", evidence=evidence, advice=advice)


def _no_tls(error: ssl.SSLError, trusted: Authorities) -> Trouble:
    why = str(error.reason or error).replace("_", " ").lower()
    if error.reason in _EMPTY:
        advice = f"Correct the file, or take it away: unset {trusted.variable}"
        return Trouble(what=f"there is no certificate in {trusted.path}", evidence=(why, trusted.words), advice=advice)
    if error.reason in _PLAIN:
        advice = "Check the port; a proxy or a login page on the way answers like that too."
        return Trouble(what="what answers there does not speak TLS", evidence=(why,), advice=advice)
    return Trouble(what=f"no secure connection came about: {why}", again=True)


def _clock() -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    return f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC"


def _refused_by_proxy(status: str, why: str, proxy: str) -> Trouble:
    answer = f"the proxy answered {status} {why}".rstrip()
    if status == _ASKS_FOR_LOGIN:
        advice = "Give it one: export HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT (special signs as %XX)"
        return Trouble(what=f"the proxy {proxy} asks for a user name and a password", evidence=(answer,), advice=advice)
    advice = "Ask the proxy's keeper for this host; where it needs no proxy: export NO_PROXY=HOST"
    return Trouble(
        what=f"the proxy {proxy} refuses to connect", evidence=(answer,), advice=advice, again=status >= "500"
    )
