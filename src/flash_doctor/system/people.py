"""Where a text names a person: home folders, users of a host, e-mail addresses; as ranges and what stands for them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Edit = tuple[int, int, str]

MASK = "***"
# users of images and build machines, who are nobody
_NOBODY = {"***", "runner", "shared", "public", "all users", "default", "root"}
_HOME = re.compile(
    r"(?i)(?:/(?:home|users)[\\/]{1,2}([^\\/\s:\"'<>|*,;()\[\]{}`]{1,64})"
    r"|[a-z]:[\\/]{1,2}(?:users|documents and settings)[\\/]{1,2}"
    r"(?:([^\\/:\"'<>|*\n]{1,64}?)(?=[\\/])|([^\\/\s:\"'<>|*]{1,64})))"
)
_MAIL = re.compile(
    r"(?<![\w.+-])(?!(?:git|hg)@)[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.(?!(?:so|py|whl|gz|json|txt)\b)[A-Za-z]{2,24}\b"
)
_REMOTE = re.compile(r"\b(?:ssh|scp|sftp|rsync|mosh|ssh-copy-id)\b[^\n|;&@]{0,200}?\s([\w.-]{1,64})@(?=[\w\[])")
_PROMPT = re.compile(r"(?<![\w.+/:-])([A-Za-z_][\w.-]{0,31})@[A-Za-z0-9][\w-]{0,62}:(?=[~/](?!/))")
_TILDE = re.compile(r"(?:(?<=[\s\"'=:(])|^)~([A-Za-z_][\w.-]{0,31})(?=/)")
_VARIABLE = re.compile(r"\b(?:USER|LOGNAME|USERNAME|SUDO_USER)=([^\s\"';&|]{1,64})")
_SYSTEM = "usr|opt|etc|lib|lib64|bin|sbin|proc|sys|dev|boot|run|root"
_ENDS = r"[/\\\s:;,\"'`)\]}<>|&]|$"
_PATH_GOES_ON, _PATH_ENDS = f"(?={_ENDS})", re.compile(_ENDS)
# an address says so by what stands around it (eth0:10.1.2.3<0>, tcp://10.1.2.3:29500, ip=10.1.2.3): versions look alike
_IP = re.compile(
    r"(?i)((?:\b(?:ip|addr\w{0,5}|host\w{0,4}|server|endpoint|node|connect(?:ed|ion)? (?:to|from)|from|eth\d|ib\d"
    r"|en\w{1,12})"
    r"[\s=:'\"(]{1,3}|://|@)|(?<![\d.]))(?!(?:127|0|255)\.)((?:\d{1,3}\.){3}\d{1,3})(:\d{2,5}\b|<\d)?(?![\d.])"
)


@dataclass(frozen=True, slots=True)
class Person:
    """Whose machine it is: the home folder, "" where a person has none of their own, and the login name."""

    home: str
    name: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Person:
        home = environ.get("HOME", "").rstrip("/")
        name = environ.get("USER") or environ.get("LOGNAME") or ""
        personal = home.startswith("/") and home.count("/") > 1 and home not in _NOT_PERSONAL
        return cls(home if personal else "", name if len(name) > 2 and name.lower() not in _NOBODY else "")


_NOT_PERSONAL = {"/var/empty", "/usr/sbin", "/var/www", "/var/lib"}


def own(environ: Mapping[str, str] = os.environ) -> Person:
    """Who runs the doctor."""
    return Person.of(environ)


def in_text(text: str, person: Person) -> Iterator[Edit]:
    """Every name of a person; the own home folder becomes `~` where a path begins with it."""
    if person.home and person.home in text:
        yield from _own_home(text, person.home)
    if "/" in text or "\\" in text:
        yield from _masked(_HOME, text)
    if "~" in text:
        yield from _masked(_TILDE, text)
    if "@" in text:
        yield from (edit for pattern in (_MAIL, _REMOTE, _PROMPT) for edit in _masked(pattern, text))
    if "USER" in text or "LOGNAME" in text:
        yield from _masked(_VARIABLE, text)
    if person.name and person.name in text:
        yield from _masked(_own_folders(person.name), text)


def in_command(text: str, person: Person) -> Iterator[Edit]:
    """The own home folder alone, written so that a shell puts it in again: the command must work as it is copied."""
    position = text.find(person.home) if person.home else -1
    while position >= 0:
        stop = position + len(person.home)
        if _PATH_ENDS.match(text, stop):
            yield _for_a_shell(text, position, stop)
        position = text.find(person.home, stop)


def _for_a_shell(text: str, start: int, stop: int) -> Edit:
    """`~` begins an unquoted word; in quotes, and within a word, only `$HOME` is replaced."""
    quote = _open_quote(text[:start])
    before = text[start - 1 : start]
    if not quote:
        return start, stop, "~" if before in {"", " ", "("} else "$HOME"
    if quote == '"':
        return start, stop, "$HOME"
    if before == "'" and text[stop : stop + 1] == "/":
        return start - 1, stop + 1, "~/'"
    return start, stop, "'\"$HOME\"'"


def _open_quote(text: str) -> str:
    """The quote that the text leaves open, as a shell reads it; "" where there is none."""
    quote = escaped = ""
    for sign in text:
        if escaped:
            escaped = ""
        elif sign == "\\" and quote != "'":
            escaped = sign
        elif sign == quote:
            quote = ""
        elif sign in "'\"" and not quote:
            quote = sign
    return quote


def network(text: str) -> Iterator[Edit]:
    """IP addresses that are not local."""
    for found in _IP.finditer(text):
        fits = all(int(number) < 256 for number in found[2].split("."))
        if fits and (found[1] or found[3]):
            yield *found.span(2), MASK


def _masked(pattern: re.Pattern[str], text: str) -> Iterator[Edit]:
    for found in pattern.finditer(text):
        group = found.lastindex or 0
        if found[group].lower() not in _NOBODY and found[group] not in {"git", "hg"}:
            yield *found.span(group), MASK


def _own_home(text: str, home: str) -> Iterator[Edit]:
    for found in _own_home_pattern(home).finditer(text):
        if found["begin"] is not None:
            yield *found.span("begin"), "~"
        else:
            yield found.start("name"), found.end("name"), MASK


@cache
def _own_home_pattern(home: str) -> re.Pattern[str]:
    parent, _, name = home.rpartition("/")
    whole, parent, name = re.escape(home), re.escape(parent), re.escape(name)
    return re.compile(rf"(?<![\w.~/\\-])(?P<begin>{whole}){_PATH_GOES_ON}|{parent}/(?P<name>{name}){_PATH_GOES_ON}")


@cache
def _own_folders(name: str) -> re.Pattern[str]:
    """The login name as one of the first folders of a path that is none of the system's: /scratch/ada, /data/x/ada."""
    before = rf"(?<![\w.~-])/(?!(?:{_SYSTEM})/)(?:[\w.-]{{1,64}}/){{0,3}}"
    return re.compile(rf"{before}({re.escape(name)}){_PATH_GOES_ON}|~({re.escape(name)})\b")
