"""Secrets and people are masked, whatever stands around them, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from flash_doctor.system.people import MASK
from flash_doctor.system.redact import redact

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
BODY = st.text(ALPHABET, min_size=36, max_size=36)
PREFIXES = ["hf_", "ghp_", "gho_", "github_pat_", "glpat-", "sk-", "sk-proj-", "pypi-", "nvapi-"]
AROUND = st.text(max_size=30)


@given(prefix=st.sampled_from(PREFIXES), body=BODY, before=AROUND, after=AROUND)
def test_tokens_go(prefix: str, body: str, before: str, after: str) -> None:
    assert body not in redact(f"{before} {prefix}{body} {after}")


@given(text=st.text(max_size=400))
def test_masking_twice_changes_nothing_and_never_fails(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(name=st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=12).map(lambda name: f"u{name}q"))
def test_names_of_people_in_paths_go(name: str) -> None:
    for path in (f"/home/{name}/x.py", f"C:\\Users\\{name}\\x.py", f"/Users/{name}/x.py", f"D:/Users/{name}/x"):
        assert name not in redact(f"File {path}, line 3")


@pytest.mark.parametrize(
    "text",
    [
        "HF_TOKEN=abcdef1234567890",
        "WANDB_API_KEY: 'abcdef1234567890'",
        "Authorization: Bearer abcdef1234567890",
        "https://ada:abcdef1234567890@example.org/simple",
        "https://example.org/file?token=abcdef1234567890&x=1",
        'export OPENAI_API_KEY="abcdef1234567890"',
        "aws_secret_access_key = abcdef1234567890",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhYmNkZWYxMjM0NTY3ODkwIn0.abcdef1234567890",
        "wandb login 0123456789abcdef0123456789abcdef01234567",
        "AKIAABCDEF1234567890",
    ],
)
def test_known_forms(text: str) -> None:
    assert "abcdef1234567890" not in redact(text).lower()
    assert "0123456789abcdef0123456789abcdef01234567" not in redact(text)
    assert MASK in redact(text)


def test_mail_and_addresses_go() -> None:
    assert redact("mail ada.lovelace+x@example.co.uk now") == f"mail {MASK} now"
    assert redact("Bootstrap : Using eth0:172.17.0.3<0>") == f"Bootstrap : Using eth0:{MASK}<0>"


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:Dao-AILab/flash-attention.git",
        "nvidia-cublas-cu12 12.4.5.8 and nvidia-cudnn-cu12==9.1.0.70",
        "invalid token: expected string",
        "127.0.0.1:29500",
        "_ZN3c104cuda9SetDeviceEi",
        "git+https://github.com/x/y@0123456789abcdef0123456789abcdef01234567",
        "commit 0123456789abcdef0123456789abcdef01234567",
        "RuntimeError: tokenizer has no attribute pad_token",
        "{'loss': 2.31, 'num_tokens': 123456, 'learning_rate': 1e-05}",
        "/home/runner/work and 'pad_token': '<pad>', 'max_new_tokens': 512",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text
