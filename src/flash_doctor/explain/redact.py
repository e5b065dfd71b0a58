"""Text without secrets and people: logs are pasted into public issues, and so is what we say about them.

Masked: access tokens of the services that training uses, JSON web tokens, passwords in addresses, keys named in
assignments and headers, e-mail addresses, IP addresses that are not local, and user names in home folders.
"""

from __future__ import annotations

import re

MASK = "***"

_TOKENS = (
    r"hf_[A-Za-z0-9]{16,}",
    r"(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{16,}",
    r"github_pat_[A-Za-z0-9_]{16,}",
    r"glpat-[A-Za-z0-9_-]{16,}",
    r"sk-[A-Za-z0-9_-]{16,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{12,}",
    r"xox[abpr]-[A-Za-z0-9-]{10,}",
    r"AIza[A-Za-z0-9_-]{20,}",
    r"pypi-[A-Za-z0-9_-]{20,}",
    r"nvapi-[A-Za-z0-9_-]{20,}",
    r"wandb_v\d_[A-Za-z0-9_]{16,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
)
_TOKEN = re.compile(r"(?<![A-Za-z0-9])(?:" + "|".join(_TOKENS) + ")")
# a name that says "secret", then its value: MY_API_KEY=..., "password": "...", --token ...
_NAMED = re.compile(
    r"""(?ix)
    (\b[\w-]{0,40}(?:api[_-]?key|token|passw(?:or)?d|secret|credential|access[_-]?key)s?
      ["']?(?:\s{0,3}(?:=|:)\s{0,3}|\s{1,3}(?=["'A-Za-z0-9_-]{20})))
    (?:bearer\s)?["']?([^\s"',;&)\]}]{6,})
    """
)
_AUTHORIZATION = re.compile(r"(?i)\b((?:bearer|basic)\s{1,3})[A-Za-z0-9._~+/=-]{12,}")
_ADDRESS = re.compile(r"(?<=://)[^/@\s\"']{1,200}@")
_QUERY = re.compile(r"(?i)([?&](?:token|key|secret|password|sig|signature|x-amz-[a-z-]{1,40})=)[^&\s#\"']+")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}\b")
_HOME = re.compile(r"(?i)((?:/(?:home|users|Users)|[a-z]:[\\/]{1,2}users)[\\/]{1,2})([^\\/\s:\"'<>|*]{1,64})")
# an address says so by what stands around it (eth0:10.1.2.3<0>, tcp://10.1.2.3:29500, ip=10.1.2.3): versions look alike
_IP = re.compile(
    r"(?i)((?:\b(?:ip|addr\w{0,5}|host\w{0,4}|server|endpoint|node|connect(?:ed|ion)? (?:to|from)|from|eth\d|ib\d"
    r"|en\w{1,12})"
    r"[\s=:'\"(]{1,3}|://|@)|(?<![\d.]))(?!(?:127|0|255)\.)((?:\d{1,3}\.){3}\d{1,3})(:\d{2,5}\b|<\d)?(?![\d.])"
)
_PUBLIC_HOMES = {"***", "runner", "shared", "public", "all users", "default"}
# 40 hexadecimal digits are a key of Weights & Biases, unless they are a commit
_HEX_KEY = re.compile(r"(?i)((?:wandb|login|api)[^\n]{0,60}?)\b[0-9a-f]{40}\b")


def redact(text: str) -> str:
    """The text with secrets and personal names masked; masking twice changes nothing."""
    text = _TOKEN.sub(MASK, text)
    text = _ADDRESS.sub(_credentials, text)
    text = _QUERY.sub(rf"\1{MASK}", text)
    text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    text = _NAMED.sub(_named, text)
    text = _HEX_KEY.sub(rf"\1{MASK}", text)
    text = _MAIL.sub(_mail, text)
    text = _HOME.sub(_home, text)
    return _IP.sub(_ip, text)


def _credentials(found: re.Match[str]) -> str:
    return found[0] if found[0] == "git@" else f"{MASK}@"


def _named(found: re.Match[str]) -> str:
    value = found[2]
    plain = (value.isalpha() and value.islower()) or value.replace(
        ".", ""
    ).isdigit()  # "token: invalid", num_tokens: 12
    return found[0] if plain or value.startswith((MASK, "[your", "<", "${", "$")) else f"{found[1]}{MASK}"


def _mail(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("git@") else MASK


def _home(found: re.Match[str]) -> str:
    return found[0] if found[2].lower() in _PUBLIC_HOMES else f"{found[1]}{MASK}"


def _ip(found: re.Match[str]) -> str:
    """Versions of four numbers look the same: only what stands like an address is one."""
    before, address, after = found[1], found[2], found[3] or ""
    fits = all(int(number) < 256 for number in address.split("."))
    return f"{before}{MASK}{after}" if fits and (before or after) else found[0]
