"""Readers of free text: logs, what is printed, names; and the two that make text fit to be shown."""

from __future__ import annotations

import io
import json
import unicodedata
from functools import partial

from fuzzing.hostile import TEXTS
from fuzzing.mutate import text_of
from fuzzing.registry import TESTS, facts, file, reader, scratch


def _logs() -> list[str]:
    """What recorded threads quote, some at a time."""
    cases = json.loads((TESTS / "explain" / "complaint_cases.json").read_text(encoding="utf-8"))
    symptoms = [case["symptom"] for case in cases if case.get("symptom")]
    return ["\n".join(symptoms[at : at + 3]) + "\n" for at in range(0, len(symptoms), 3)]


_TRACE = [
    "Traceback (most recent call last):\n",
    '  File "/x/y.py", line 3, in z\n',
    "Error:",
    "undefined symbol:",
    "not found",
    "CUDA",
    "\r",
    "\x1b[0m",
]


@reader("explain", _logs, partial(text_of, words=_TRACE), slow=True)
def explain(data: bytes) -> None:
    from flash_doctor.explain import explain as explained
    from flash_doctor.render.document import to_json
    from flash_doctor.render.explanations import explanation_lines, explanations_of

    told = explained(io.BytesIO(data), facts())
    to_json(explanations_of(told, 0))
    list(explanation_lines(told, joined=False))


_MOVING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_SHOWN = ["\x1b[31m", "\x9b", "\u202e", "\u200b", "\r\n", "\x00", "\x7f", "\udcff", "\U000e0001", "a", "é", "\u2028"]


@reader("clean", lambda: [text for text in TEXTS if text], partial(text_of, words=_SHOWN))
def clean(data: bytes) -> None:
    from flash_doctor.render.text import clean as cleaned

    for errors in ("replace", "surrogateescape", "surrogatepass"):
        try:
            text = data.decode("utf-8", errors)
        except UnicodeDecodeError:
            continue
        shown = cleaned(text)
        assert not {unicodedata.category(char) for char in shown} & _MOVING, (
            "something that moves the cursor or is not shown is let through"
        )


_QUOTES = ["$(x)", "`", "'", '"', "\\", "&", "|", ";", "<", ">", "{", "*", "?", "~", "#", "=", "-", "--x", " ", "\n"]


@reader("command-line", lambda: [text for text in TEXTS if text], partial(text_of, words=[*_SHOWN, *_QUOTES]))
def command_line(data: bytes) -> None:
    """A stranger's word in a line that we advise to type: it stays one word, and nothing in it is hidden."""
    import shlex

    from flash_doctor.system.commands import command

    text = data.decode("utf-8", "replace")
    line = command("flash-doctor plan --want {} --python x", text)
    if line is not None:
        assert shlex.split(line) == ["flash-doctor", "plan", "--want", text, "--python", "x"], "it is not one word"
        assert not {unicodedata.category(char) for char in str(line)} & _MOVING, "it hides something"


_SECRETS = [
    "https://ada:s3cr3t@h/simple and HF_TOKEN=hf_abcdEFGHijklMNOPqrst\n",
    "ERROR password=hunter2 token: abc /home/ada.lovelace/x ada@corp.example 10.1.2.3\n",
    "Authorization: Basic YWRhOnMzY3JldHBhc3M= AKIAIOSFODNN7EXAMPLE\n",
]
_OF_SECRETS = [
    "://",
    "@",
    ":",
    "=",
    "token",
    "password",
    "/home/",
    "hf_",
    "Bearer ",
    "-----BEGIN",
    "\n",
    "'",
    '"',
    "AKIA",
    "%40",
]


@reader("redact", lambda: _SECRETS, partial(text_of, words=_OF_SECRETS))
def redact(data: bytes) -> None:
    from flash_doctor.system.redact import redact as masked

    once = masked(data.decode("utf-8", "replace"))
    assert masked(once) == once, "masking what is masked changes it"


@reader(
    "netrc",
    lambda: ["machine api.wandb.ai login user password 0123\n"],
    partial(text_of, words=["machine", "login", "password", "default", "macdef", '"', "#", "\n"]),
)
def netrc(data: bytes) -> None:
    from flash_doctor.preflight.gather.machine import logged_in

    file("home/.netrc", data)
    logged_in({}, scratch() / "home")


@reader(
    "python-source",
    lambda: [
        "__version__ = '2.8.3'\n\n\nclass AxolotlInputConfig(Base):\n    model: str | None = None\n    lr: float = 1\n"
    ],
    partial(
        text_of,
        words=[
            "(",
            "[",
            "class ",
            "def ",
            ":",
            "=",
            "lambda:",
            "*",
            "**",
            "9" * 5000,
            "\f",
            "if 1:\n",
            "'''",
            "\\\n",
            "-",
            "not ",
        ],
    ),
)
def python_source(data: bytes) -> None:
    """Of the packages in a target: what their version is, which keys a framework knows."""
    from packaging.version import Version

    from flash_doctor.preflight.formats.installed import read_schema
    from flash_doctor.probe.packages import version_in

    path = file("axolotl/utils/schemas/config.py", data)
    version_in(path)
    read_schema(scratch() / "axolotl", Version("0.12"))
