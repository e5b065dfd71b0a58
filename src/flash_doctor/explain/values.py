"""What patterns caught, in the words of people: CUDA's 12040 is 12.4, an architecture has a name."""

from __future__ import annotations


def decoded(groups: dict[str, str]) -> dict[str, str]:
    """The groups with encoded numbers spelt out: `cuda_number` (12040, 12.4), `arch` (120a, sm_120a)."""
    spelt = dict(groups)
    if (number := groups.get("cuda_number", "")).isdecimal():
        spelt["cuda_number"] = f"{int(number) // 1000}.{int(number) % 1000 // 10}"
    return spelt
