"""The atlas file: what goes in comes out, the same input gives the same bytes, and damage is never believed."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from flash_doctor.abi.atlas import PAGES, AtlasImage, digest, fingerprint, pack
from flash_doctor.errors import BadFacts

RELEASES = tuple(f"9.{minor}.0" for minor in range(11))
PROVENANCE = b"where it comes from"
masks_by_name = st.dictionaries(st.text(max_size=40), st.integers(1, 2 ** len(RELEASES) - 1), max_size=60)
some = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def packed(masks: dict[str, int]) -> bytes:
    return pack(RELEASES, {fingerprint(name): mask for name, mask in masks.items()}, PROVENANCE)


@cache
def sample() -> tuple[dict[str, int], bytes]:
    """Some thousand names, so that pages hold more than one."""
    chance = random.Random(7)
    masks = {f"_ZN3c10{number}E": chance.randrange(1, 2 ** len(RELEASES)) for number in range(9000)}
    return masks, packed(masks)


@some
@given(masks=masks_by_name, others=st.lists(st.text(max_size=40), max_size=20))
def test_round_trip(masks: dict[str, int], others: list[str]) -> None:
    image = AtlasImage(packed(masks), "test")
    assert image.releases == RELEASES
    assert image.provenance == digest(PROVENANCE)
    assert {name: image.mask(name) for name in masks} == masks
    assert not any(image.mask(name) for name in others if name not in masks)
    assert dict(image.masks()) == {fingerprint(name): mask for name, mask in masks.items()}


@some
@given(masks=masks_by_name, chance=st.randoms(use_true_random=False))
def test_the_order_in_which_names_come_does_not_matter(masks: dict[str, int], chance: random.Random) -> None:
    names = list(masks)
    chance.shuffle(names)
    assert packed({name: masks[name] for name in names}) == packed(masks)


def test_full_pages() -> None:
    masks, data = sample()
    image = AtlasImage(data, "test")
    assert len(masks) > 2 * PAGES
    assert all(image.mask(name) == mask for name, mask in masks.items())
    assert not any(image.mask(f"{name}v") for name in masks)


def test_empty() -> None:
    image = AtlasImage(pack([], {}, b""), "test")
    assert image.releases == ()
    assert image.mask("_ZN3c105ErrorD1Ev") == 0


def test_more_releases_than_bits_in_a_word() -> None:
    releases = [f"1.{minor}" for minor in range(100)]
    image = AtlasImage(pack(releases, {fingerprint("a"): 1 << 99, fingerprint("b"): 2**100 - 1}, b""), "test")
    assert (image.mask("a"), image.mask("b"), image.mask("c")) == (1 << 99, 2**100 - 1, 0)


def test_a_fingerprint_is_44_bits_and_keeps_its_value() -> None:
    assert fingerprint("_ZN3c105ErrorD1Ev") == 0xD1AE477BDF0
    assert fingerprint("_ZN3c105ErrorD1Ev") < 2**44


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_met_or_without_effect(data: st.DataObject) -> None:
    masks, content = sample()
    changed = bytearray(content)
    at = data.draw(st.integers(0, len(content) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    names = data.draw(st.lists(st.sampled_from(sorted(masks)), min_size=1, max_size=20))
    try:
        image = AtlasImage(bytes(changed), "test")
        answers = {name: image.mask(name) for name in names}
    except BadFacts:
        return
    assert answers == {name: masks[name] for name in names}


@pytest.mark.parametrize("at", range(0, 60 + 3000 * 6, 997))
def test_every_changed_byte_of_the_body_is_met_by_who_reads_it_all(at: int) -> None:
    _, content = sample()
    changed = bytearray(content)
    changed[-1 - at] ^= 0x40
    image = AtlasImage(bytes(changed), "test")
    with pytest.raises(BadFacts, match="checksum"):
        list(image.masks())


@some
@given(data=st.data())
def test_a_cut_file_is_refused(data: st.DataObject) -> None:
    _, content = sample()
    length = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(BadFacts):
        AtlasImage(content[:length], "test")


@settings(max_examples=100, deadline=None)
@given(head=st.binary(max_size=200), tail=st.binary(max_size=200))
def test_rubbish_is_refused(head: bytes, tail: bytes) -> None:
    for content in (head, sample()[1][:60] + tail):
        with pytest.raises(BadFacts):
            AtlasImage(content, "test")


def test_another_format_is_refused() -> None:
    _, content = sample()
    with pytest.raises(BadFacts, match="format"):
        AtlasImage(content[:8] + b"\xff" + content[9:], "test")
