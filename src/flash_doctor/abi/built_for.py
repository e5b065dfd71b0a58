"""From the releases that export a symbol to the sentence "built for torch X–Y", and how that fits what is installed."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Local labels of PyTorch's own builds of a release; any other label is a vendor's.
_OWN_BUILD = re.compile(r"cu\d+|cpu|rocm[\d.]*|xpu")


def plain_release(version: Version) -> Version | None:
    """The release that a build of PyTorch's own belongs to; None for a nightly or a vendor's build."""
    own = version.local is None or _OWN_BUILD.fullmatch(version.local)
    return Version(version.public) if own and not version.is_prerelease else None


@cache
def minor(version: Version) -> str:
    """The series of a release, as in 2.10."""
    return f"{version.major}.{version.minor}"


def ranges(releases: Sequence[Version], atlas: Sequence[Version]) -> str:
    """Releases as people write them: "2.7, 2.10–2.13"; a series is named whole where all its releases are meant.

    Both are sorted, `releases` are among `atlas`.
    """
    wanted, runs = set(releases), list[list[Version]]()
    for before, release in zip([None, *atlas], atlas, strict=False):
        if release in wanted:
            if before not in wanted:
                runs.append([])
            runs[-1].append(release)
    return ", ".join(_run(run, atlas) for run in runs)


def _run(run: Sequence[Version], atlas: Sequence[Version]) -> str:
    """One unbroken run; its ends lose their patch number where the run takes in the whole series at that end."""
    first, last = run[0], run[-1]
    opens = first == _series(first, atlas)[0] and _series(first, atlas)[-1] <= last
    closes = last == _series(last, atlas)[-1] and _series(last, atlas)[0] >= first
    start, end = minor(first) if opens else str(first), minor(last) if closes else str(last)
    return start if start == end else f"{start}–{end}"


def _series(release: Version, atlas: Sequence[Version]) -> list[Version]:
    return [other for other in atlas if minor(other) == minor(release)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolAge:
    """Which releases export one symbol; `atlas` are all releases that were read, both oldest first.

    `of_torch` is False for a name that is none of torch's business, even where some releases export it along, as
    they do for parts of the C++ library: the lack of such a name says nothing about torch.
    """

    symbol: str
    of_torch: bool
    exported_by: tuple[Version, ...]
    atlas: tuple[Version, ...]

    @property
    def first(self) -> Version | None:
        return self.exported_by[0] if self.exported_by else None

    @property
    def last(self) -> Version | None:
        return self.exported_by[-1] if self.exported_by else None

    @property
    def ranges(self) -> str:
        """The releases as "2.10–2.13"; empty where none exports it."""
        return ranges(self.exported_by, self.atlas)


class Standing(Enum):
    """How the installed torch stands to the releases that a file was built for."""

    AMONG = "among them"
    OLDER = "older than all of them"
    NEWER = "newer than all of them"
    BETWEEN = "between them, and not one of them"
    OUTSIDE = "outside the atlas"
    NOT_ASKED = "no torch to compare with"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltFor:
    """For which torch a file, or the one missing symbol of it, was built.

    `releases` export all that it needs (of `atlas`); `nightly` is the series whose nightlies may have had it first;
    `out` are the releases that were out on the day `on`, None where no day or no release dates were given.
    """

    releases: tuple[Version, ...]
    atlas: tuple[Version, ...]
    nightly: str | None
    standing: Standing
    installed: Version | None = None
    on: datetime.date | None = None
    out: tuple[Version, ...] | None = None

    @property
    def fits_installed(self) -> bool:
        """Whether the installed torch is one of these releases."""
        return self.standing is Standing.AMONG

    @property
    def only_nightly(self) -> bool:
        """Whether none of the releases was out yet on that day, so that only a nightly can be meant."""
        return self.out == () and self.nightly is not None

    def __str__(self) -> str:
        """One clause: "built for torch 2.10–2.13 or a nightly on the way to 2.10, newer than the installed 2.8"."""
        return ", ".join(filter(None, (f"built for {self.span}", self._compared)))

    @property
    def span(self) -> str:
        """The releases and, where it may be one, the nightly, in words."""
        if not self.releases:
            known = f"from {minor(self.atlas[0])} to {minor(self.atlas[-1])}"
            return f"no release of torch {known}: a nightly, a vendor's build, or another C++ ABI"
        if not self.nightly:
            return f"torch {self._open_ended}"
        comma = "," if " or " in self._open_ended else ""
        return f"torch {self._open_ended}{comma} or a nightly on the way to {self.nightly}"

    @property
    def _open_ended(self) -> str:
        """Where the releases reach an end of the atlas, what lies beyond it is not known, and may fit as well."""
        text = ranges(self.releases, self.atlas)
        starts, ends = self.releases[0] == self.atlas[0], self.releases[-1] == self.atlas[-1]
        if "," in text or starts == ends:
            return text
        edge = text.partition("–")[0 if ends else 2] or text
        return f"{edge} or newer" if ends else f"{edge} or older"

    @property
    def _compared(self) -> str:
        found = f"the installed {self.installed}"
        return {
            Standing.AMONG: f"which takes in {found}",
            Standing.OLDER: f"newer than {found}",
            Standing.NEWER: f"older than {found}",
            Standing.BETWEEN: f"but not for {found}",
            Standing.OUTSIDE: f"while {found} is outside the atlas: a nightly, a vendor's build or a release that "
            "the atlas has not read",
            Standing.NOT_ASKED: "",
        }[self.standing]

    @property
    def dated(self) -> str:
        """What the day adds: which of the releases were out; empty where it is not known, or changes nothing."""
        if self.out is None or self.out == self.releases or self.standing is Standing.AMONG:
            return ""
        if self.out:
            return f"of these only {ranges(self.out, self.atlas)} had come out by {self.on}"
        left = f"only a nightly on the way to {self.nightly} is left" if self.nightly else "none of them fits"
        return f"none of these had come out by {self.on}: {left}"


def built_for(
    releases: Sequence[Version],
    atlas: Sequence[Version],
    *,
    installed: Version | None = None,
    on: datetime.date | None = None,
    released: Mapping[Version, datetime.date] | None = None,
) -> BuiltFor:
    """Read the releases that export all a file needs, or one symbol that the installed torch lacks.

    `on` is a day by which the file existed (a log's date, a file's), `released` the day each release came out.
    """
    out = None
    if on and released is not None:
        out = tuple(release for release in releases if release in released and released[release] <= on)
    return BuiltFor(
        releases=tuple(releases),
        atlas=tuple(atlas),
        nightly=_nightly(releases, atlas),
        standing=_standing(releases, atlas, installed),
        installed=installed,
        on=on,
        out=out,
    )


def _nightly(releases: Sequence[Version], atlas: Sequence[Version]) -> str | None:
    """The series whose nightlies brought the symbol: it is new in the first release of a series."""
    if not releases or releases[0] == atlas[0] or releases[0] != _series(releases[0], atlas)[0]:
        return None
    return minor(releases[0])


def _standing(releases: Sequence[Version], atlas: Sequence[Version], installed: Version | None) -> Standing:
    if installed is None or not releases:
        return Standing.NOT_ASKED
    plain = plain_release(installed)
    if plain in releases:
        return Standing.AMONG
    if plain is None or _beyond(plain, releases, atlas):
        return Standing.OUTSIDE
    if plain < releases[0]:
        return Standing.OLDER
    return Standing.NEWER if plain > releases[-1] else Standing.BETWEEN


def _beyond(release: Version, releases: Sequence[Version], atlas: Sequence[Version]) -> bool:
    """Whether a release that was not read may still be one of those meant."""
    if release in atlas:
        return False
    if release > releases[-1]:
        return releases[-1] == atlas[-1]
    return release > releases[0] or releases[0] == atlas[0]
