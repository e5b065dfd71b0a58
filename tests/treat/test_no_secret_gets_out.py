"""Random secrets in every place that a secret can come from: no command prints or writes one.

The commands are those of the program's own table, so that a new one without a row here fails.
"""

from __future__ import annotations

import json
import re
import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from clinic import Clinic, install_step, write_plan
from flash_doctor.cli.app import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

# signs that people forget to quote in a password; letters and digits at both ends, so that it can be looked for
BODY = st.text(string.ascii_letters + string.digits + "/@:%?#&=+.~_-", min_size=14, max_size=24)
SECRETS = st.builds("Q{}z9".format, BODY)
PIECE = 8  # a piece of a secret that long is a part of it, and no chance

OUT = "out.json"
INDEXES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL",
)  # fmt: skip
CALLS: dict[str, tuple[tuple[str, ...], ...]] = {
    "check": (("check",), ("check", "-v"), ("check", "--json"), ("check", "--output", OUT), ("check", "-r", "req.txt")),
    "explain": (("explain", "log.txt"), ("explain", "log.txt", "--json"), ("explain", "D201")),
    "run": (("run", "--", "sh", "-c", "cat log.txt >&2; exit 3"),),
    "abi": (("abi", "{url}"), ("abi", "missing-{name}.so", "--json")),
    "plan": (("plan", "--offline"), ("plan", "--offline", "--json"), ("plan", "--want", "x @ {url}")),
    "fix": (("fix", "--yes", "--plan", "plan.json"), ("fix", "--dry-run", "--plan", "plan.json", "--json")),
    "verify": (("verify", "--import-only"), ("verify", "--import-only", "--json")),
    "rollback": (("rollback",), ("rollback", "--json")),
    "bundle": (("bundle", "bag", "--plan", "plan.json"), ("bundle", "bag", "--plan", "plan.json", "--json")),
    "preflight": (("preflight", "config.yaml"), ("preflight", "config.yaml", "--json")),
    "watch": (("watch", "--once", "run"), ("watch", "--once", "run", "--json")),
    "stacks": (("stacks",),),
    "lint-setup": (("lint-setup", "setup.sh"), ("lint-setup", "setup.sh", "--json")),
    "matrix": (("matrix", "show"),),
    "fleet": (("fleet", "compare", "report.json", "log.txt"),),
}
# these name no target
WITHOUT_TARGET = {"explain", "run", "stacks", "lint-setup", "matrix", "fleet", "watch", "bundle"}


def plant(clinic: Clinic, secret: str) -> dict[str, str]:
    """The secret in files and variables; what the words of a command line are filled with."""
    url = f"https://ada:{secret}@flash.corp.invalid/simple"
    einops = clinic.einops("shop")
    files = {
        "req.txt": f"--index-url {url}\neinops @ {url}/einops-0.8.1-py3-none-any.whl\n-e git+{url}/x.git#egg=x\n",
        "pip.conf": f"[global]\nindex-url = {url}\nextra-index-url = {url}\n",
        "log.txt": (
            f"ERROR: Could not install from {url}\nRuntimeError: CUDA error: out of memory\n"
            f"export WANDB_API_KEY={secret}\nOSError: password='{secret}' was refused by the server\n"
            f"torch.cuda.OutOfMemoryError: CUDA out of memory. HF_TOKEN={secret}\n"
        ),
        "config.yaml": (
            f"base_model: x\nhub_token: '{secret}'\nwandb_api_key: '{secret}'\n"
            f"datasets:\n  - path: {url}/a.jsonl\n    type: alpaca\n"
        ),
        "setup.sh": f"#!/bin/sh\npip install --index-url '{url}' torch\nexport HF_TOKEN='{secret}'\n",
        "run/log.txt": f"{{'loss': 1.0}} token={secret}\n",
        "report.json": json.dumps({"schema": "flash-doctor/report/1", "target": {"python": url, "why": url}}),
    }
    for name, text in files.items():
        path = clinic.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (origin,) = clinic.site.glob("torch-*.dist-info")
    (origin / "direct_url.json").write_text(json.dumps({"url": f"{url}/torch.whl", "archive_info": {}}))
    write_plan(clinic, install_step("einops", "0.8.1", einops, url=f"{url}/{einops.name}"))
    indexes = (
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "UV_INDEX_URL",
        "UV_DEFAULT_INDEX",
        "UV_INDEX",
        "UV_EXTRA_INDEX_URL",
    )
    clinic.environment |= dict.fromkeys(indexes, url)
    clinic.environment |= {
        "PIP_CONFIG_FILE": str(clinic.folder / "pip.conf"),
        "HF_TOKEN": secret,
        "WANDB_API_KEY": secret,
        "NCCL_DEBUG_FILE": url,
        "HTTPS_PROXY": f"http://ada:{secret}@127.0.0.1:9",
        "HF_ENDPOINT": url,
        "FLASH_DOCTOR_MIRROR": url,
    }
    return {"url": f"{url}/x-1-py3-none-any.whl", "name": "x"}


def leaked(secret: str, text: str) -> list[str]:
    """Pieces of the secret that stand in the text; what is written in JSON has its own way of quoting."""
    pieces = {secret[start : start + PIECE] for start in range(len(secret) - PIECE + 1)}
    return sorted(piece for piece in pieces if piece in text)


def written(folder: Path) -> str:
    paths = [folder / OUT, *(folder / "bag").rglob("*.json"), *folder.glob("data/**/*.json")]
    return "".join(path.read_text(errors="replace") for path in paths if path.is_file())


def test_every_command_has_a_row() -> None:
    assert CALLS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", CALLS)
def test_no_command_tells_a_secret(clinic: Clinic, command: str) -> None:
    @settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(SECRETS)
    def holds(secret: str) -> None:
        words = plant(clinic, secret)
        for call in CALLS[command]:
            arguments = [word.format(**words) if "{" in word else word for word in call]
            done = clinic.run(*arguments, target=command not in WITHOUT_TARGET)
            told = done.stdout + done.stderr
            if command == "run":  # what its own command prints is the user's
                told = told.replace((clinic.folder / "log.txt").read_text(), "")
            assert not leaked(secret, told + written(clinic.folder)), (arguments, told[-1500:])
            assert "Traceback" not in told
            assert done.returncode in range(7), told

    holds()


def test_nothing_shows_secrets_on_request(clinic: Clinic) -> None:
    for command in COMMANDS:
        done = clinic.run(command, "--help", target=False)
        assert not re.search("--[a-z-]*(secret|unmask|redact|token|password)", done.stdout), done.stdout
