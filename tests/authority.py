"""A certificate authority of the tests' own, and certificates of servers: good, expired, for another host."""

from __future__ import annotations

import datetime
import ssl
from functools import cached_property
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

OURS = ("127.0.0.1", "localhost")
# what names certificates and proxies, here and on the machines of people who run the tests
NETWORK = (
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR",
    *(f"{kind}_proxy" for kind in ("http", "https", "all", "no")),
    *(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")),
)  # fmt: skip


class Authority:
    """Signs for servers; `bundle` is the file that a client has to be told of."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.bundle = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.bundle)

    @cached_property
    def good(self) -> ssl.SSLContext:
        return self.server()

    def server(self, *names: str, days: int = 1) -> ssl.SSLContext:
        """The context of a server with a certificate for these names that ends in so many days."""
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
        start = end - datetime.timedelta(days=30)
        certificate = self._ca.issue_cert(*(names or OURS), not_before=start, not_after=end)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context
