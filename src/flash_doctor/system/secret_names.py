"""Words by which a secret is told from what is none: names of keys, names of a model's tokens, words of a sentence."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

# what makes a key a secret one, as it ends before `key`
_KEYS_TEXT = """
    api access account secret private auth encryption signing signature master storage shared subscription service
    ssh license licence client deploy admin root user consumer application app session project gpg pgp tls ssl rsa
    jwt webhook host function functions write wandb hf hub openai anthropic comet neptune groq mistral cohere aws
    azure gcp google together replicate kaggle databricks modal runpod
"""
KEYS = tuple(_KEYS_TEXT.split())
# what ends in "token" and is one of a model's
_OF_MODELS_TEXT = """
    pad eos bos unk sep cls mask image video audio img vision stop start end special think tool user assistant
    system im decoder forced next prev previous first last per current prompt completion input output generated
    sample batch cached reasoning total max min num n valid seq text new added sub pre extra any each every all
    single bad good boi eoi boa eoa fim suffix prefix middle turn role space word byte unexpected unknown invalid
    illegal trailing expected missing the a an this that of in is
"""
OF_MODELS = frozenset(_OF_MODELS_TEXT.split())
_PROSE_BEFORE_TEXT = """
    unexpected unknown invalid illegal special next previous first last bad missing expected added new each per
    every unrecognized unrecognised trailing stray line a an one no any that of
"""
PROSE_BEFORE = frozenset(_PROSE_BEFORE_TEXT.split())
# what follows a colon in a sentence, or is a value of a setting
_PROSE_TEXT = """
    a an the and or not no yes is was are be been has have had must should can cannot could will would may might
    none null nil true false on off auto unset undefined default required optional invalid expired incorrect
    expected missing failed failure unauthorized unauthorised denied forbidden wrong empty unexpected found
    refused rejected revoked set str string bytes int float bool text number object any redacted hidden masked
    removed omitted unknown unsupported disabled enabled authentication authorization authorised authorized
    permission permissions valid error errors using use used uses with without for from to in of by as at if it
    its this that these those your you please see try enter provide given got when where which while because only
    too already still also does do did file files path option options argument arguments flag field value values
    name basic digest bearer kerberos ldap saml pam prompt interactive anonymous environment variable variables
    limit limits count length type id ids instead
"""
PROSE = frozenset(_PROSE_TEXT.split())
_METAVARS_TEXT = """
    TOKEN KEY PASSWORD PASSWD PASS PWD TEXT STRING STR SECRET VALUE NAME CREDENTIALS AUTH
"""
METAVARS = frozenset(_METAVARS_TEXT.split())
# values that rules and readers need, or that say nothing: everything else in a query may be a key to something
_HARMLESS_TEXT = """
    sha1 sha224 sha256 sha384 sha512 md5 blake2b egg subdirectory version v tag ref branch rev page per_page tab
    raw format type lang download inline line lines rank world_size timeout connect_timeout retries sslmode region
    x-amz-algorithm x-amz-date x-amz-expires x-amz-signedheaders expires size offset limit sort order name package
    python platform arch torch cuda abi sha commit path since
"""
HARMLESS = frozenset(_HARMLESS_TEXT.split())


_SECRET_PLURALS = ("api", "access", "auth", "secret", "refresh", "bearer", "github", "gitlab", "hf", "hub", "session")
# numbers, folders and calls are no such secret
_WEAK = ("token", "auth", "cookie", "cred", "credential", "jwt", "pass", "sig", "signature")
_BEFORE = re.compile(r"([A-Za-z]+)[\s\"'`:]{1,3}$")
_PASSWORDS = ("passw", "passphrase", "kennwort", "contrase", "senha", "пароль", "密码", "密碼", "パスワード")
SETTERS = {"setenv", "env", "arg", "set", "export"}
_NAME_SIGNS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_WORDS = (
    r"passw(?:or)?d|pass_?phrase|passcode|pass|pwd|secret|token|credential|cred|key|shared_?access_?signature|jwt|cookie"
    r"|auth|sig(?:nature)?|pw|passwort|kennwort|contrase(?:ñ|n)a|senha|пароль|密码|密碼|パスワード"
)
_SUFFIX = r"s?(?:[_-]?(?:value|string|hash|base64|b64|plain|raw|id|prod|dev|test|staging|old|new|key|text|\d{1,3}))?"


# for a variable's name alone, whatever its value is: RUNPOD_SECRET_db, NVIDIA_AUTHORIZATION, MYAPIKEY
_IN_VARIABLE = re.compile(
    rf"(?i)(?:^|_)(?:{_WORDS})s?(?=_|$)|(?:^|_)o?auth|passw|passphrase|secret|token|credential|api_?key|private_?key"
)
_OF_A_FILE = ("_PATH", "_FILE", "_DIR")


def says_secret(variable: str) -> bool:
    """Whether a variable of this name may hold a secret, and not the path of one: such a value is not even kept."""
    return _IN_VARIABLE.search(variable) is not None and not variable.upper().endswith(_OF_A_FILE)


@cache
def named() -> re.Pattern[str]:
    """A word that says secret, and how its value is joined to it."""
    return re.compile(
        rf"""(?ix)(?P<word>{_WORDS})(?P<suffix>{_SUFFIX})(?![\w-])
        (?P<closing>(?:\\{{0,3}}["'`])?\]?)
        (?:
            \s{{0,3}}(?:
                :\s{{0,3}}(?:str|bytes|any|secretstr|optional\[\w{{1,12}}\])(?:\s?\|\s?none)?\s{{0,3}}=(?![=~])
              | (?::=|=(?![=~>])|＝)
              | (?P<colon>:(?![:/])|:(?=/(?!/))|：|[=-]>)
              | (?:,|[,;]?\s{{1,8}}|\\{{0,3}}["'],)\s{{0,3}}\\{{0,3}}["']?value\\{{0,3}}["']?\s{{0,3}}[:=]
              | (?P<comma>,\s{{0,3}}(?=\\{{0,3}}["']))
            )\s{{0,3}}(?P<block>[|>][-+]?[ \t]{{0,3}}\n)?
          | \s{{0,3}}(?P<cell>[|│])\s{{0,3}}
          | (?P<tag>>)
          | (?P<is>\s{{1,2}}(?:is|was|of)\s{{1,2}})
          | (?P<space>\s{{1,3}})
        )""",
    )


class Name(NamedTuple):
    """The whole name, in small letters, up to the word that says secret; `before` is the word before the name.

    `joint` says how the value is joined to it.
    """

    name: str
    before: str
    joint: str
    loud: bool
    dashed: bool
    plural: bool
    after_slash: bool
    in_query: bool

    @classmethod
    def of(cls, text: str, found: re.Match[str]) -> Name:
        left = text[max(0, found.start() - 64) : found.start()]
        begin = found.start() - len(left) + len(left.rstrip(_NAME_SIGNS))
        whole = text[begin : found.end("suffix")]
        before = _BEFORE.search(text[max(0, begin - 24) : begin])
        return cls(
            name=text[begin : found.end("word")].lstrip("-").lower(),
            before=before[1].lower() if before else "",
            joint=next(
                (kind for kind in ("colon", "comma", "cell", "tag", "is", "space") if found[kind] is not None), ""
            ),
            loud=whole.isupper() and ("_" in whole or "-" in whole),
            dashed=whole.startswith("-"),
            plural=found["suffix"][:1].lower() == "s",
            after_slash=text[begin - 1 : begin] == "/" and ":" not in text[max(0, begin - 2) : begin],
            in_query=text[max(0, begin - 1) : begin] in {"?", "&"},
        )

    @property
    def may_be_secret(self) -> bool:
        """False for `pad_token`, `max_tokens`, `/etc/passwd: no such file`, and words that nothing is joined to."""
        if (self.joint == "colon" and self.after_slash) or (self.joint == "comma" and not self.dashed):
            return False
        if self.joint == "space" and not (self.dashed or self.loud or self.before in SETTERS or self.is_set):
            return False
        if self.is_token and self.plural:
            return any(word in self.name for word in _SECRET_PLURALS)
        parts = re.split(r"[_.\-]", self.name)
        owner = parts[-2] if len(parts) > 1 and parts[-1] == "token" else self.name.removesuffix("token")
        return not (self.is_token and owner in OF_MODELS) and not self.name.endswith(("ward_pass", "ward-pass"))

    @property
    def is_token(self) -> bool:
        return self.name.endswith("token")

    @property
    def is_password(self) -> bool:
        return any(word in self.name for word in _PASSWORDS)

    @property
    def is_set(self) -> bool:
        """Joined to its value by a space alone: a password in quotes, npm's `_authToken`."""
        return self.is_password or self.name.startswith("_auth")

    @property
    def names_a_file(self) -> bool:
        """Credentials and keys may be a file's path; so is PWD, the current folder."""
        return any(word in self.name for word in ("pwd", "credential", "key"))

    @property
    def is_weak(self) -> bool:
        stem = re.split(r"[_.\-]", self.name)[-1]
        return stem.endswith(_WEAK) and not any(word in self.name for word in ("access", "api", "secret", "refresh"))


def means_it(text: str, found: re.Match[str], name: Name) -> bool:
    """Whether the word is one of its own and not the end of another: `oauth`, not `author`; `DB_PASS`, not `bypass`."""
    word, before = found["word"].lower(), text[max(0, found.start() - 1) : found.start()]
    if word == "key":
        left = text[max(0, found.start() - 16) : found.start()].lower()
        return left.removesuffix(left[-1:] if left[-1:] in "_-. " else "").endswith(KEYS)
    if word == "pass":
        return before in {"_", "-"} or (not before.isalnum() and before not in {"/", "-"} and name.joint == "")
    if word == "pw":
        return (not before.isalnum() and name.joint in {"", "colon", "comma"}) or name.dashed
    if word in {"sig", "signature"}:
        return before in {"?", "&", ";"}
    if word in {"auth", "cred", "jwt"}:
        return not before.isalpha() or before.lower() == "o" or (before.islower() and found["word"][0].isupper())
    return True
