"""Where a login or a token stands in the addresses of a text: as ranges of characters, in time linear in the text.

A password may hold every sign that should have been quoted (`/ @ : % ? # & = +`), so an address cannot be taken apart
as a browser would do it: what stands before the last `@` that a host follows is a login, unless all that is known of
such addresses speaks against it (`git+https://host/x@v1`, `s3://bucket/x@v1`, a port before a path). Where both
readings are possible the one that hides more is taken: a host too few in a text is a smaller loss than a password.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from flash_doctor.system.secret_names import HARMLESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    Range = tuple[int, int]

# what ends an address: a space; a quote where its text goes on; the next address of a list
_END = re.compile(r"""[\s<>`]|["'](?=[,;:)\]}\s"']|$)|[,;|&=(\[{"'](?=[A-Za-z][A-Za-z0-9+.-]{1,20}://)""")
_SPACE = re.compile(r"\s")
_SCHEME = re.compile(r"[A-Za-z0-9+.-]{1,32}\Z")
# a host, perhaps with a port, that ends where a host may end
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})"
_AFTER = r"(?::\d{1,5})?(?=[/?#,;)\]}\\'\"]|$)"
_NAME = rf"{_LABEL}(?:\.{_LABEL}){{0,20}}"
_NUMBER = r"\[[0-9A-Fa-f:.%]{2,60}\]"
_HOST = re.compile(rf"(?:{_NUMBER}|{_NAME}\.?|\$?\{{\w{{1,40}}\}}|\*{{3}}){_AFTER}")
_UNNUMBERED = re.compile(rf"(?!v?\d+(?:\.\w+){{0,2}}(?:[/?#]|$)){_HOST.pattern}")  # `pkg@1.2/file` is no host
# the same, and certainly a host: a port, four numbers, or a name with a dot and a top-level domain
_SURE_HOST = re.compile(
    rf"(?:{_LABEL}\.){{1,20}}[A-Za-z]{{2,24}}\.?(?::\d{{1,5}}|(?=[/,;)\]'\"\s]|$))"
    rf"|\d{{1,3}}(?:\.\d{{1,3}}){{3}}\b|{_NAME}:\d{{1,5}}\b"
)
_PATH_FOLLOWS = re.compile(rf"(?:{_NUMBER}|{_NAME})(?::\d{{1,5}})?/|[^/@]{{1,253}}:\d{{1,5}}(?:/|$)")
_PORT = re.compile(r"[^:@]*:\d*|\[[0-9A-Fa-f:.%]*\]?(?::\d*)?")
_NUMBERED = re.compile(r"(?:localhost|127\.[\d.]+|0\.0\.0\.0|\d{1,3}(?:\.\d{1,3}){3})(?::\d*)?")
# where `@` is a version or a revision, and the first name a bucket or a kind
_STORES = {"s3", "s3a", "gs", "gcs", "hf", "hdfs", "abfs", "abfss", "wasb", "docker", "oci", "file", "local", "az"}
_EMPTY_PORT = re.compile(r"[^:]*:(?:\$|\{|<|%|\*|(?i:port|n+|x+)$)")
_EXAMPLE = re.compile(
    r"(?:[A-Z_]{2,20}|<[^<>]{1,40}>|\$\{?\w{1,40}\}?|\{\w{1,40}\}|__token__)"
    r"(?::(?:[A-Z_]{2,20}|<[^<>]{1,40}>|\$\{?\w{1,40}\}?|\{\w{1,40}\}))?"
)
_PUBLIC_USERS = {"git", "hg"}
_PART = re.compile(r"[^&;?#]+")
_WORD = re.compile(r"[a-z]{1,12}|L?\d{1,7}(?:-L?\d{1,7})?")
_TRAILING = ".,;:!)]}'\"\\"
_HOOKS = re.compile(
    r"(?i)(?:hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/(?:v\d+/)?webhooks/"
    r"|\.webhook\.office\.com/webhookb2/|outlook\.office(?:365)?\.com/webhook/|api\.telegram\.org/(?:file/)?bot"
    r"|hooks\.zapier\.com/hooks/catch/|maker\.ifttt\.com/trigger/|open\.(?:feishu|larksuite)\.c(?:n|om)/open-apis/bot/v2/hook/"
    r"|events\.pagerduty\.com/integration/)([^\s\"'<>]+)"
)


def in_addresses(text: str) -> Iterator[Range]:
    """Logins, values of queries, and paths of web hooks, of every address in the text."""
    position = text.find("://")
    while position >= 0:
        start = position + 3
        found = _END.search(text, start)
        stop = found.start() if found else len(text)
        scheme = _SCHEME.search(text[max(0, position - 32) : position])
        login, stop = _login(scheme[0].lower() if scheme else "", text, start, stop)
        if login:
            yield start, login
        yield from _query(text, login or start, stop)
        position = text.find("://", max(stop, start))
    yield from (found.span(1) for found in _HOOKS.finditer(text))


def _login(scheme: str, text: str, start: int, stop: int) -> tuple[int, int]:
    """Where the login that begins at `start` ends (0: there is none), and where the address ends."""
    word = text[start:stop]
    authority = re.split(r"[/?#]", word, maxsplit=1)[0]
    named = ":" in authority and not _PORT.fullmatch(authority) and not _EMPTY_PORT.match(authority)
    if named and "@" not in word:
        # a quote in the password, or one that was cut off: what has no port and no host is a login
        space = _SPACE.search(text, stop)
        stop = space.start() if space else len(text)
        word = text[start:stop]
    end = _login_end(scheme, word, authority, certain=named or "@" in authority)
    if end < 0 and named:
        end = len(authority)
    if end <= 0 or word[:end] in _PUBLIC_USERS or _EXAMPLE.fullmatch(word[:end]):
        return 0, stop
    return start + end, stop


def _login_end(scheme: str, word: str, authority: str, *, certain: bool) -> int:
    """Where in the word the `@` stands that ends the login; -1 where none does."""
    versioned = "git" in scheme or ".git@" in word
    if certain:
        end = _last(word, _PATH_FOLLOWS) if versioned else -1
        end = end if end >= 0 else _last(word, _HOST)
        return end if end >= 0 else authority.rfind("@")
    if (scheme in _STORES and ":" not in authority) or "@" not in word or (versioned and "." in authority):
        return -1
    local = _NUMBERED.fullmatch(authority) or authority.startswith("[") or "." in authority
    return _last(word, _SURE_HOST if local else _UNNUMBERED)


def _last(word: str, host: re.Pattern[str]) -> int:
    """The last `@` that such a host follows."""
    position = word.rfind("@")
    while position >= 0:
        if host.match(word, position + 1):
            return position
        position = word.rfind("@", 0, position)
    return -1


def _query(text: str, start: int, stop: int) -> Iterator[Range]:
    """The values after `?` and `#` whose key is not known to be harmless."""
    begin = min((at for sign in "?#" if (at := text.find(sign, start, stop)) >= 0), default=stop)
    hidden = False
    for part in _PART.finditer(text, begin, stop):
        key, equals, value = part[0].partition("=")
        harmless = unquote_plus(key).lower() in HARMLESS
        first = part.start() + len(key) + 1 if equals else part.start()
        value = (value if equals else key).rstrip(_TRAILING)
        # a fragment names a place in a page, unless it goes on with what should have been quoted
        bare = not equals and (hidden or (text[part.start() - 1] == "?" and not _WORD.fullmatch(value)))
        if not harmless and (equals or bare):
            hidden = True
            if value:
                yield first, first + len(value)


_BARE_USER = re.compile(r"(?:^|(?<=[=('\",]))[A-Za-z0-9_][\w.+%-]{0,63}:(?!//|:)")


def in_bare_logins(text: str) -> Iterator[Range]:
    """`user:password@host` without a scheme, as proxies are written."""
    position = text.find("@")
    while position >= 0:
        start = position - len(re.split(r"\s", text[max(0, position - 265) : position])[-1])
        # not further than the word can count, or a text without spaces would be searched anew from every `@`
        far = min(len(text), position + 265)
        found = _SPACE.search(text, position, far)
        stop = found.start() if found else far
        word = text[start:stop]
        user = _BARE_USER.search(word) if "://" not in word else None
        end = _last(word, _SURE_HOST) if user else -1
        if user and end > user.end() + 2 and not _EXAMPLE.fullmatch(word[user.start() : end]):
            yield start + user.start(), start + end
        position = text.find("@", stop)
