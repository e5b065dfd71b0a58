"""Prints those settings of pip that say where files come from, as NAME=VALUE, a line each.

From pip's files and the environment, as `pip config list` merges them. What says where files go to, or what to install,
is left out: it is meant for other environments than the one that scripts/lib/venv.sh makes.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

SOURCES = frozenset(
    {
        *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "cert", "client-cert", "proxy"),
        *("timeout", "default-timeout", "retries", "resume-retries", "keyring-provider", "cache-dir", "no-cache-dir"),
    }
)
PATHS = frozenset({"cert", "client-cert", "cache-dir"})
SECTIONS = ("global", "install", ":env:")  # the later wins
_LINE = re.compile(r"(global|install|:env:)\.([a-z-]+)=(['\"].*)")


def main() -> None:
    found: dict[str, str] = {}
    lines = [_LINE.fullmatch(line) for line in _listed().splitlines()]
    for section in SECTIONS:
        for line in lines:
            if line and line[1] == section and line[2] in SOURCES:
                # an empty variable is none, to pip as well
                found.update({line[2]: value} if (value := ast.literal_eval(line[3])) else {})
    print("PIP_CONFIG_FILE=" + os.devnull)
    print("PIP_DISABLE_PIP_VERSION_CHECK=1")
    for name, value in sorted(found.items()):
        # a list has a line each in a file, and blanks between in a variable
        words = [value] if name in PATHS else value.split()
        words = [_absolute(word) for word in words] if name in {*PATHS, "find-links"} else words
        print(f"{_variable(name)}={' '.join(words)}")


def _listed() -> str:
    """What pip says that its settings are; without those that would silence or redirect it as well.

    Raises:
        SystemExit: pip cannot read them; it has said why.
    """
    kept = {*map(_variable, SOURCES), "PIP_CONFIG_FILE"}
    others = {name for name in os.environ if name.startswith(("PIP_", "_PIP_"))} - kept
    environment = {name: value for name, value in os.environ.items() if name not in others}
    argv = [sys.executable, "-I", "-m", "pip", "config", "list"]
    # a variable outweighs a file: not silent, and not the settings of one file alone
    plain = {f"PIP_{name}": "0" for name in ("QUIET", "VERBOSE", "USER", "GLOBAL", "SITE")}
    done = subprocess.run(argv, env={**environment, **plain}, stdout=subprocess.PIPE, text=True, errors="replace")
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def _variable(name: str) -> str:
    return f"PIP_{name.upper().replace('-', '_')}"


def _absolute(word: str) -> str:
    """A path that was meant from the user's folder; pip runs in another one."""
    return word if "://" in word or not Path(word).exists() else str(Path(word).absolute())


if __name__ == "__main__":
    main()
