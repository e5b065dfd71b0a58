"""Secrets that show by their own shape: tokens of services, private keys, what stands in headers and after options.

Each search is linear in the text: every repetition is bounded, or begins only where a run of its signs begins.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.secret_addresses import Range

# as their services publish them: a prefix, then at least so many signs
_TOKENS = (
    r"hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}",  # Hugging Face
    r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|gl(?:pat|dt|rt|cbt|ptt|ft|soat|oas|agent)-[\w-]{16,}",
    r"sk-[A-Za-z0-9_-]{16,}|xai-[\w-]{20,}|gsk_[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{20,}|pplx-[A-Za-z0-9]{20,}",
    r"tgp_v1_[\w-]{20,}|fw_[A-Za-z0-9]{22,}|nvapi-[\w-]{20,}|rpa_[A-Z0-9]{30,}|jina_[a-f0-9]{32,}|pcsk_[\w-]{20,}",
    r"lsv2_[ps][tk]_[a-f0-9_]{20,}|tvly-[\w-]{16,}|wandb_v\d_[A-Za-z0-9_]{16,}",
    r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{12,}\w*|ABSK[A-Za-z0-9+/=]{40,}|AIza[\w-]{20,}",
    r"ya29\.[\w.-]{10,}|1//0[\w-]{20,}|GOCSPX-[\w-]{16,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}",
    r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|SG\.[\w-]{10,}\.[\w-]{10,}",
    r"dckr_[a-z]{2,4}_[\w-]{16,}|npm_[A-Za-z0-9]{20,}|pypi-[\w-]{20,}|rubygems_[a-f0-9]{32,}|cio[A-Za-z0-9]{32}",
    r"(?:[sr]k|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{20,}",
    r"(?:AC|SK)[a-f0-9]{32}|dapi[a-f0-9]{32}(?:-\d)?|key-[a-z0-9]{32}|do[opr]_v1_[a-f0-9]{32,}|sq0[a-z]{3}-[\w-]{20,}",
    r"hv[sbr]\.[\w-]{20,}|ATATT3[\w=-]{20,}|tskey-[\w-]{16,}|dp\.[a-z]{2,4}\.[\w-]{30,}|sntrys_[\w=+/.-]{20,}",
    r"glsa_[\w]{20,}|glc_[\w=+/-]{20,}|NRAK-[A-Z0-9]{20,}|lin_api_[A-Za-z0-9]{20,}|ntn_[A-Za-z0-9]{20,}|PMAK-[\w-]{20,}",
    r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]{4,}){1,4}\.?|eyJ[A-Za-z0-9_+/=-]{17,}",  # JSON web tokens, Neptune's
    r"\d{8,10}:AA[\w-]{33}|[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}",  # bots of Telegram and Discord
    r"[A-Za-z0-9+/]{86}==",  # keys of Azure's storage accounts
)
_RUN = re.compile(r"[\w.+/=:-]{15,}")
_NOT_WORD = re.compile(r"[^A-Za-z0-9]")
_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# what of a private key can follow its first line where the last is missing
_BODY = re.compile(
    r"(?:\s|\\[nr]|(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n\\]{0,80}|[A-Za-z0-9+/=]{16,}|\*\*\*)*", re.ASCII
)
# a row of such a key alone
_ROW = re.compile(
    r"(?m)^[ \t]*((?=[^\n]{0,75}[a-z])(?=[^\n]{0,75}[A-Z])(?=[^\n]{0,75}\d)[A-Za-z0-9+/]{64,76}={0,2})[ \t]*$"
)
_AUTHORIZATION = re.compile(
    r"""(?i)authorization["'\\]{0,4}\s{0,3}[:=]\s{0,3}["'\\]{0,3}"""
    r"""(?:(?:basic|bearer|token|apikey|api-key|negotiate|ntlm|sharedkey(?:lite)?)\s{1,3})?"""
    r"""((?:digest|aws4-hmac-sha256|oauth|hawk|signature)\s[^\n"]*|(?!(?:failed|required|header|error|denied|is|not|was|for)\b)[^\s"']+)"""
)
_SCHEME = re.compile(
    r"\b(?i:bearer|basic)\s{1,3}((?=[a-z._~+/-]{0,400}(?:[A-Z\d]|={1,2}(?![\w=])))[A-Za-z0-9._~+/=-]{12,})"
)
_COOKIE = re.compile(
    r"""(?i)(["'])(?:set-)?cookie2?\s{0,3}:\s{0,3}([^\n]{1,4000}?)\1|\b(?:set-)?cookie2?\s{0,3}:\s{0,3}([^\n]{1,9000})"""
)
# 40 hexadecimal digits are a key of Weights & Biases, unless they are a commit
_HEX = re.compile(
    r"(?i)(?:wandb|login|api)[^\n]{0,60}?(?<!commit )(?<!commit: )(?<!rev )(?<![0-9a-z])([0-9a-f]{40})(?![0-9a-z])"
)
_OPTIONS = (
    # user:password of curl and its kind; docker's --user 1000:1000 is none
    r"(?:^|\s)(?:-u|--user|-U|--proxy-user)(?:\s{1,3}|=)(?:\"([^\":\n]*:[^\"\n]*)\"|'([^':\n]*:[^'\n]*)'|"
    r"(?!\d+:\d+(?:\s|$))(?![$*])([^\s:\"']{1,128}:[^\s]+))",
    r"\bcurl\b[^\n|;&]{0,300}?\s-u([^\s:\"'-][^\s:\"']{0,128}:[^\s]+)",
    r"\bsmb\w*\b[^\n|;&]{0,300}?\s-U\s{0,3}[^\s%]{1,128}%([^\s]+)",
    r"\bsshpass\b[^\n|;&]{0,80}?\s-p\s{0,3}(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s]+))",
    r"\b(?:mysql|mariadb)[\w-]{0,12}\b[^\n|;&]{0,300}?\s-p(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s\"'][^\s]*))",
    r"\b(?:docker|podman|nerdctl|helm|az|oc|skopeo|twine|singularity|apptainer)\b[^\n|;&]{0,40}?\s(?:login|upload)\b"
    r"[^\n|;&]{0,200}?\s-p\s{1,3}(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s]+))",
    r"\bredis-cli\b[^\n|;&]{0,200}?\s-a\s{1,3}(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s]+))",
    r"\bldap\w{1,10}\b[^\n|;&]{0,300}?\s-w\s{1,3}(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s]+))",
    r"\b(?:un)?zip\b[^\n|;&]{0,200}?\s-P\s{0,3}(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s]+))",
    r"\b7za?\b[^\n|;&]{0,200}?\s-p([^\s]+)",
    r"\s-pass(?:in|out|word)?\s{1,3}(?:pass:)?([^\s]+)",
    r"(?i)\bidentified\s{1,3}by\s{1,3}[\"']([^\"'\n]+)[\"']",
    r"(?i)\blogin\s{1,8}[^\s]{1,128}\s{1,8}password\s{1,8}(?!(?-i:[A-Z]+)\b)([^\s]+)",
    r"(?im)^[ \t]{0,40}password[ \t]{1,8}(?!(?-i:[A-Z]+)\b)([^\s]+)[ \t]*$",  # netrc
    r"(?i)\becho\s{1,3}(?:-n\s{1,3})?[\"']?([^\s|\"']+)[\"']?\s{0,3}\|\s{0,3}(?:sudo\s{1,3}-S|docker\s{1,3}login)",
    r"""["']username["']\s{0,3}:[^\n{}]{1,120}["']key["']\s{0,3}:\s{0,3}["']([^"'\n]{8,200})["']""",  # Kaggle's
    r"(?i)\bwandb\s{1,3}login\s{1,3}(?:--\w+\s{1,3}){0,3}([A-Za-z0-9]{20,})",
)


@cache
def _tokens() -> re.Pattern[str]:
    return re.compile("|".join(_TOKENS))


@cache
def _options() -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, _OPTIONS))


def in_tokens(text: str) -> Iterator[Range]:
    """Tokens that a prefix or a shape tells from any other word."""
    for run in _RUN.finditer(text):
        position = run.start()
        while 0 <= position < run.end() - 14:
            found = _tokens().match(text, position)
            if found:
                yield found.span()
            # a token begins where a word does
            later = _NOT_WORD.search(text, found.end() if found else position, run.end())
            position = later.end() if later else -1


def in_private_keys(text: str) -> Iterator[Range]:
    """What stands between BEGIN and END of a private key; as far as it looks like one where END is missing."""
    ended = True
    position = 0
    while first := _PRIVATE.search(text, position):
        position = first.end()
        last = text.find("-----END", position) if ended else -1
        ended = last >= 0
        body = _BODY.match(text, position)
        stop = last if ended else body.end() if body else position
        inside = text[position:stop]
        if inside.strip():
            start = position + len(inside) - len(inside.lstrip())
            yield start, position + len(inside.rstrip())
        position = max(position, stop)


def in_key_rows(text: str) -> Iterator[Range]:
    """Rows of a private key, even where nothing of its frame is there."""
    return (found.span(1) for found in _ROW.finditer(text))


def in_headers(text: str) -> Iterator[Range]:
    """Authorization and cookies."""
    for pattern in (_AUTHORIZATION, _SCHEME, _COOKIE, _HEX):
        yield from (found.span(found.lastindex or 0) for found in pattern.finditer(text))


def in_options(text: str) -> Iterator[Range]:
    """Passwords that a program takes after an option whose name does not say so, and in netrc's words."""
    for pattern in _options():
        for found in pattern.finditer(text):
            yield found.span(found.lastindex or 0)
