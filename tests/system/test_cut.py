"""A text that is cut short shows no part of a secret that straddles the cut."""

from __future__ import annotations

import io
from functools import cache

import pytest
from hypothesis import given, settings, strategies as st

from flash_doctor.explain import explain
from flash_doctor.facts import Facts
from flash_doctor.system.redact import Hide, between, cut, last_lines, secrets
from flash_doctor.system.secret_names import says_secret

LONG = "Tr0ub4dor3xyzQW8mN2k"
TOKEN = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9"
# the text as it stands there, and what must not show of it
SECRETS = (
    (f"https://ada:{LONG}@host.example/simple", LONG),
    (f"ghp_{TOKEN}", TOKEN),
    (f"password={LONG}", LONG),
    (f"Authorization: Bearer {TOKEN}", TOKEN),
    (f"https://files.example/a.whl?X-Amz-Signature={TOKEN}", TOKEN),
)
ROWS = [f"MIIEvQ{number:02d}" + TOKEN + LONG + "4Kd9Xw2" for number in range(26)]
KEY = "\n".join(["-----BEGIN PRIVATE KEY-----", *ROWS, "-----END PRIVATE KEY-----"])
ERROR = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
WORDS = st.sampled_from(["x ", "y", "é ", "a-b "])


def shows(text: str, secret: str) -> bool:
    """Whether any 6 characters of the secret stand in the text."""
    return any(secret[at : at + 6] in text for at in range(len(secret) - 5))


@cache
def facts() -> Facts:
    return Facts()


@given(st.sampled_from(SECRETS), st.integers(0, 140), WORDS, st.sampled_from(["", " end", " end" * 5000]))
@settings(max_examples=250, deadline=None)
def test_a_secret_that_straddles_the_cut_is_not_shown(
    secret: tuple[str, str], offset: int, word: str, after: str
) -> None:
    text = f"{(word * 140)[:offset]} {secret[0]}{after}"
    told = cut(text, 100, mark="...")
    assert not shows(told, secret[1])
    assert len(told) <= 100


@pytest.mark.parametrize("offset", range(0, 100, 3))
@pytest.mark.parametrize("after", ["", " end" * 5000])
def test_a_private_key_without_its_end_is_not_shown(offset: int, after: str) -> None:
    told = cut(f"{'x' * offset} {KEY}{after}", 400)
    assert not any(shows(told, row) for row in ROWS)


@pytest.mark.parametrize("most", range(1, 30))
def test_the_last_lines_of_a_key_are_not_shown(most: int) -> None:
    told = last_lines(f"start\n{KEY}\nerror: it ended", most)
    assert told[-1] == "error: it ended"
    assert not any(shows(line, row) for line in told for row in ROWS)


@pytest.mark.parametrize("over", range(0, 200, 7))
def test_nor_where_a_long_output_is_read_from_its_middle(over: int) -> None:
    text = f"{KEY}\n" + "x\n" * ((1 << 15) - 900 + over)
    assert not any(shows(line, row) for line in last_lines(text, 1 << 16) for row in ROWS)


@given(st.sampled_from(SECRETS), st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=300, deadline=None)
def test_a_piece_is_masked_as_a_part_of_the_whole(secret: tuple[str, str], start: int, length: int) -> None:
    text = f"before it {secret[0]} and after"
    assert not shows(between(text, start, start + length), secret[1])


@given(st.text(max_size=40), st.integers(0, 40))
def test_pieces_of_what_holds_no_secret_are_the_text(text: str, place: int) -> None:
    if secrets(text) == text:
        assert between(text, 0, place, Hide.SECRETS) + between(text, place, len(text), Hide.SECRETS) == text


@given(st.sampled_from(SECRETS), st.integers(-200, 200), st.booleans())
@settings(max_examples=25, deadline=None)
def test_explain_reads_2048_bytes_around_a_word_and_shows_no_half_secret(
    secret: tuple[str, str], offset: int, behind: bool
) -> None:
    gap = ("v " * 2000)[: 2048 + offset]
    line = f"{ERROR} {gap} {secret[0]}{' w' * 2000}" if behind else f"{'w ' * 2000}{secret[0]} {gap} {ERROR}"
    told = explain(io.BytesIO(f"{line}\n{'a dull line' * 1000}\n".encode()), facts())
    assert told.explanations
    assert not shows(repr(told), secret[1])


@given(st.sampled_from(SECRETS), st.integers(0, 700))
@settings(max_examples=25, deadline=None)
def test_nor_where_the_shown_beginning_ends(secret: tuple[str, str], offset: int) -> None:
    line = f"{ERROR} {('v ' * 400)[:offset]} {secret[0]} " + "w " * 300
    assert not shows(repr(explain(io.BytesIO(line.encode()), facts())), secret[1])


@pytest.mark.parametrize(
    ("name", "secret"),
    {
        "HF_TOKEN": True,
        "WANDB_API_KEY": True,
        "RUNPOD_SECRET_db": True,
        "NVIDIA_AUTHORIZATION": True,
        "CUDA_PASSWD": True,
        "TORCH_DB_PASS": True,
        "HF_TOKEN_PATH": False,
        "PYTHON_KEYRING_BACKEND": False,
        "CUDA_MODULE_LOADING": False,
        "NCCL_BYPASS": False,
        "LD_LIBRARY_PATH": False,
    }.items(),
)
def test_a_variable_whose_name_says_secret(name: str, secret: bool) -> None:
    assert says_secret(name) is secret
