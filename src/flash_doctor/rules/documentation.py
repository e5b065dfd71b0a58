"""The page of a rule that `explain CODE` prints, of one make: what, why, how to check it by hand, what to do.

A check's page is its docstring; those of preflight and watch are put together from the words of their facts.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from flash_doctor.model.explanation import Meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BY_HAND = "Check by hand: "
TO_DO = "What to do: "


def of_docstring(code: str, family: str, function: Callable[..., object]) -> Meaning:
    """A title, paragraphs, one that says how to check it by hand, and what to do as the last."""
    title, _, body = (inspect.getdoc(function) or "").partition("\n")
    cause, _, remedy = body.strip().rpartition(f"\n\n{TO_DO}")
    return Meaning(code=code, family=family, title=title, cause=cause, remedy=" ".join(remedy.split()))


def of_words(
    code: str, family: str, title: str, paragraphs: Iterable[str], *, by_hand: str, to_do: str, source: str
) -> Meaning:
    """The same, put together; `to_do` stays as it is, since it may end in a setting that is copied."""
    return Meaning(
        code=code,
        family=family,
        title=title if title.endswith(".") else f"{title[0].upper()}{title[1:]}.",
        cause="\n\n".join((*paragraphs, f"{BY_HAND}{by_hand}.")),
        remedy=to_do,
        sources=(source,),
    )
