"""Addresses are taken apart once: what is shown, what is opened and what is refused come from the same parts.

The judges are the libraries that open addresses in earnest: urllib3, which requests uses, and the standard library.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import urllib3
from hypothesis import given, settings, strategies as st

from flash_doctor.errors import BadInput
from flash_doctor.system.url import file_name, login_for, named_file, parse, path_of, public, redirected, to_open

HIDDEN = "(an address that cannot be taken apart)"
GENUINE = "github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/flash_attn-2.8.3-cp311-cp311-linux_x86_64.whl"
SPOOFED = [
    f"https://evil.example:443?@{GENUINE}",
    f"https://evil.example?@{GENUINE}",
    f"https://evil.example#@{GENUINE}",
    f"https://evil.example/#@{GENUINE}",
    f"https://evil.example/@{GENUINE}",
    f"https://evil.example\\@{GENUINE}",
    f"https://evil.example\\/@{GENUINE}",
    f"https:\\\\evil.example\\@{GENUINE}",
    f"https://evil.example\t@{GENUINE}",
    f"https://evil.example\n@{GENUINE}",
    f"https://evil.example\r\n@{GENUINE}",
    f"https://evil.example @{GENUINE}",
    f"https://evil.example\u2028@{GENUINE}",
    f"https://evil.example\u3000@{GENUINE}",
    f"https://evil.example\x00@{GENUINE}",
    f"https://evil.example%2f@{GENUINE}/../../x@y",
    "https://" + GENUINE.replace("github.com", "github.com@evil.example/x@y"),
    "https://" + GENUINE.replace("github.com", "g\u0131thub.com"),
    "https://" + GENUINE.replace("github.com", "github\u3002com"),
    "https://" + GENUINE.replace("github.com", "github.com\u2044evil.example"),
    "https://" + GENUINE.replace("github.com", "github.com%2eevil.example"),
    "https://" + GENUINE.replace("Dao-AILab", "Dao-AILab/../evil"),
    "https://" + GENUINE.replace("Dao-AILab", "evil/%2e%2e/Dao-AILab"),
    "https://" + GENUINE.replace("github.com", "github.com:0"),
    "https://" + GENUINE.replace("github.com", "github.com:99999"),
    "https://" + GENUINE.replace("github.com", "github.com:443:8"),
    "https://" + GENUINE.replace("github.com", "[::1"),
    "https://" + GENUINE.replace("github.com", "[::1]evil.example"),
    "https://" + GENUINE.replace("github.com", ""),
    f"https:/{GENUINE}",
    f"//{GENUINE}",
    f" https://{GENUINE}",
    f"https://{GENUINE}\x1b[2K",
]


@pytest.mark.parametrize("url", SPOOFED)
def test_what_can_be_read_in_two_ways_is_not_opened_and_its_host_not_claimed(url: str) -> None:
    with pytest.raises(BadInput):
        to_open(url)
    assert "github.com" not in public(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:8767\\@127.0.0.1/x.whl",
        "http://127.0.0.2:8767/\\@127.0.0.1/x.whl",
        "http://10.0.0.1#@localhost/x.whl",
        "http://10.0.0.1?@localhost/x.whl",
        "http://localhost.evil.example/x.whl",
        "http://localhost@10.0.0.1/x.whl",
        "http://127.0.0.1.nip.example/x.whl",
        "http://0x7f000001/x.whl",
        "http://2130706433/x.whl",
        "http://[::ffff:10.0.0.1]/x.whl",
        "HTTP://10.0.0.1/x.whl",
        "ftp://127.0.0.1/x.whl",
        "gopher://127.0.0.1/x.whl",
        "file://10.0.0.1/etc/passwd",
        "file://evil@localhost/etc/passwd",
    ],
)
def test_plain_http_is_for_this_machine_alone(url: str) -> None:
    with pytest.raises(BadInput):
        to_open(url)


@pytest.mark.parametrize(
    ("url", "shown", "login"),
    [
        ("https://H.Example:443/a/b.whl?token=x#sha256=0", "https://h.example/a/b.whl", None),
        ("https://h.example:8443/a%40b/c.whl", "https://h.example:8443/a%40b/c.whl", None),
        ("https://me:p@ss@h/simple/", "https://h/simple/", ("me", "p@ss")),
        ("https://me:p%2Fs%40s@h/simple/", "https://h/simple/", ("me", "p/s@s")),
        ("https://token@h/", "https://h/", ("token", "")),
        ("http://localhost:3141/root/x", "http://localhost:3141/root/x", None),
        ("http://[::1]:8/x", "http://[::1]:8/x", None),
        ("https://h/flash_attn-2.8.3%2Bcu12-cp311-cp311-linux_x86_64.whl",
         "https://h/flash_attn-2.8.3%2Bcu12-cp311-cp311-linux_x86_64.whl", None),
        ("file:///a@b/c%23d.whl", "file:///a@b/c%23d.whl", None),
        ("FILE://localhost/a/b", "file:///a/b", None),
    ],
)  # fmt: skip
def test_honest_addresses_are_taken_apart(url: str, shown: str, login: tuple[str, str] | None) -> None:
    address = to_open(url)
    assert (address.shown, address.login) == (shown, login)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", ""),
        ("wheels/a.whl", "wheels/a.whl"),
        ("https://[::1", f"https://{HIDDEN}"),
        ("https://me:x@host:port/a", f"https://{HIDDEN}"),
        ("https://me:x/y@host/a?b#c", f"https://{HIDDEN}"),
        ("https://host:8443/torch@2/a", f"https://{HIDDEN}"),
        ("me:pa/ss@host", HIDDEN),
    ],
)
def test_every_text_has_a_public_form(url: str, told: str) -> None:
    assert public(url) == told


HOST = st.sampled_from(["h.example", "127.0.0.1", "localhost", "[::1]", "github.com", "e\\x", "a b", "%41", "x:y"])
PIECE = st.text(alphabet="ab/@:?#\\%.[]& \t\n=2eE1é\u3002", max_size=12)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(["https://", "http://", "HTTPS://", "https:/", "file://"]), PIECE, HOST, PIECE)
def test_what_we_open_is_read_the_same_by_those_who_open_it(scheme: str, before: str, host: str, after: str) -> None:
    text = scheme + before + host + after
    try:
        address = to_open(text)
    except BadInput:
        return
    theirs, standard = urllib3.util.parse_url(address.opened), urlsplit(address.opened)
    assert (theirs.host or "").strip("[]") == address.host == (standard.hostname or "")
    assert theirs.port in (address.port, None)
    assert address.shown.startswith(f"{address.scheme}://")
    assert parse(address.opened) == parse(parse(address.opened).opened)


@given(st.text(max_size=60))
def test_no_text_makes_them_fail(text: str) -> None:
    public(text), file_name(text), redirected("https://h/x", text)


@pytest.mark.parametrize(
    ("target", "whole"),
    [
        ("/other?u=a@b", "https://h/other?u=a%40b"),
        ("../x.whl", "https://h/x.whl"),
        ("//other.example/x", "https://other.example/x"),
        ("http://h/x", None),
        ("http://127.0.0.1/x", None),
        ("https://h\\@evil/x", None),
        ("https://[::1/x", None),
        ("file:///etc/passwd", None),
        ("https://evil#@h/x", None),
    ],
)
def test_redirects_stay_with_https(target: str, whole: str | None) -> None:
    assert redirected("https://h/a/b", target) == whole


@pytest.mark.parametrize("url", ["https://h/", "https://h", "https://h/a%0Ab", "https://h/a/%2e%2e", "file:///"])
def test_what_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        named_file(url)


def test_a_file_address_is_a_path() -> None:
    assert str(path_of("file:///a%20b/c@d.whl")) == "/a b/c@d.whl"


def test_logins_of_indexes_go_to_their_own_server_only() -> None:
    environ = {
        "PIP_EXTRA_INDEX_URL": "https://me:pw@h.example:8443/simple",
        "UV_INDEX": "corp=https://you:q@corp/simple",
    }
    assert login_for(parse("https://h.example:8443/x.whl"), environ) == ("me", "pw")
    assert login_for(parse("https://CORP/x.whl"), environ) == ("you", "q")
    for other in ("https://h.example/x", "https://h.example.evil:8443/x", "http://h.example:8443/x"):
        assert login_for(parse(other), environ) is None
