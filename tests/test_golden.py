"""Every command says what the golden tree has, word for word; `scripts/dev/golden.py` writes it anew."""

from __future__ import annotations

import platform

import pytest

from golden_books import COMMANDS, books
from goldens import TREE, Book, written

BOOKS = books()
HERE = platform.machine()


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.name)
def test_a_book_is_what_the_commands_say(book: Book) -> None:
    if book.name == "abi" and HERE != "x86_64":
        pytest.skip(f"its extensions are compiled for x86_64, not for {HERE}")
    told, today = book.file.read_text(encoding="utf-8"), written(book)
    assert today.splitlines() == told.splitlines(), "scripts/dev/golden.py writes it anew; read the difference"
    assert today == told


def test_no_other_book_is_in_the_tree() -> None:
    assert {path for path in TREE.rglob("*") if path.is_file()} == {book.file for book in BOOKS}


def test_the_help_of_every_command_is_in_it() -> None:
    from flash_doctor.cli.app import COMMANDS as known

    assert {words[0] for words in COMMANDS if words} == set(known)
