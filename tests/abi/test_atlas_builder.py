"""The builder of the atlas: real wheels over a real HTTP server, a real uv, and merges that equal a full build."""

from __future__ import annotations

import datetime
import io
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from compiled import shared
from flash_doctor.abi.atlas import Atlas, fingerprint
from flash_doctor.errors import BadBinary
from servers import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]
LIBRARY = """
int seen(void) { return 1; }
__attribute__((weak)) int weakly_seen(void) { return 1; }
__attribute__((visibility("protected"))) int protected_one = 1;
__attribute__((visibility("hidden"))) int hidden(void) { return 1; }
static int internal(void) { return 1; }
extern int wanted(void);
int caller(void) { return internal() + hidden() + wanted(); }
__thread int per_thread;
"""
WHEEL = "torch-9.0.0-cp311-cp311-manylinux_2_28_x86_64.whl"


@pytest.fixture(scope="module")
def tools() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The two scripts, imported as their own command line imports them."""
    sys.path.insert(0, str(ROOT / "scripts" / "dev"))
    yield import_module("build_abi_atlas"), import_module("torch_exports")
    sys.path.remove(str(ROOT / "scripts" / "dev"))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory.mktemp("library") / "libc10.so", LIBRARY)


def names_of(path: Path) -> set[str]:
    """As nm tells them."""
    listed = subprocess.run(["nm", "-D", "--defined-only", path], check=True, capture_output=True, text=True)
    return {line.split()[-1] for line in listed.stdout.splitlines()}


def wheel_of(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def remote(exports: ModuleType, site: Site, content: bytes) -> Any:
    site.files[f"/{WHEEL}"] = content
    return exports.Wheel(
        version=Version("9.0.0"), name=WHEEL, url=f"{site.url}/{WHEEL}", sha256="0" * 64, uploaded="2030-01-02"
    )


def test_a_wheel_is_read_through_ranges_and_a_lost_connection_is_resumed(
    tools: tuple[ModuleType, ModuleType], library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, exports = tools
    monkeypatch.setattr(exports, "CHUNK", 4096)  # so that one wheel takes several reads
    padding = bytes(range(256)) * 4000
    content = wheel_of({"torch/big.bin": padding, "torch/lib/libc10.so": library.read_bytes(), "torch/z.bin": padding})
    with serve(Site(cuts=[1, 1000, 3000])) as site:
        names, received = exports.read_exports(remote(exports, site, content), ["libc10.so"])
        assert all(wanted for _, wanted in site.requests)
        assert len(site.requests) > 4
    assert names == {"libc10.so": names_of(library)}
    assert {"seen", "weakly_seen", "protected_one", "per_thread"} < names["libc10.so"]
    assert not {"hidden", "internal", "wanted"} & names["libc10.so"]
    assert 0 < received < len(content) + 5 * 4096


def test_a_server_without_ranges_is_refused(tools: tuple[ModuleType, ModuleType]) -> None:
    _, exports = tools
    with serve(Site(ranges=False)) as site, pytest.raises(exports.CannotRead, match="range requests"):
        exports.read_exports(remote(exports, site, b"content"), ["libc10.so"])


def test_a_wheel_without_a_library_is_refused(tools: tuple[ModuleType, ModuleType]) -> None:
    _, exports = tools
    with serve(Site()) as site, pytest.raises(exports.CannotRead, match=r"no torch/lib/libc10\.so"):
        exports.read_exports(remote(exports, site, wheel_of({"torch/version.py": b""})), ["libc10.so"])


def test_a_library_that_is_none_is_refused(tools: tuple[ModuleType, ModuleType]) -> None:
    _, exports = tools
    with serve(Site()) as site, pytest.raises(BadBinary):
        exports.read_exports(remote(exports, site, wheel_of({"torch/lib/libc10.so": b"text" * 99})), ["libc10.so"])


@pytest.mark.parametrize("length", [0, 5, 25, 26, 100, 101, 250, 1000])
def test_both_ends_of_a_stream_are_held(tools: tuple[ModuleType, ModuleType], length: int) -> None:
    content = bytes(index % 251 for index in range(length))
    ends = tools[1].Ends(io.BytesIO(content), 100, 10)
    assert len(ends) == length
    assert ends[0:25] == content[:25]
    assert ends[max(length - 100, 0) : length] == content[-100:]


def test_the_middle_of_a_long_stream_is_not_invented(tools: tuple[ModuleType, ModuleType]) -> None:
    exports = tools[1]
    ends = exports.Ends(io.BytesIO(bytes(1000)), 100, 10)
    with pytest.raises(exports.CannotRead, match="were not kept"):
        ends[480:520]


def release(builder: ModuleType, version: str, names: set[str]) -> Any:
    return builder.exports_of(
        {
            "version": version,
            "wheel": f"torch-{version}-cp311-cp311-manylinux_2_28_x86_64.whl",
            "sha256": "ab" * 32,
            "uploaded": "2030-01-02",
            "read": "2030-02-03",
            "libraries": {"libc10.so": sorted(names), "libtorch.so": ["in_both", *sorted(names)[:1]]},
        }
    )


def test_one_release_more_gives_the_same_bytes_as_building_all(
    tools: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    builder, _ = tools
    old, middle, new = (release(builder, v, {f"n{n}" for n in range(low, low + 50)}) for v, low in
                        (("9.9.0", 0), ("9.9.1", 20), ("9.10.0", 40)))  # fmt: skip
    whole, grown = tmp_path / "whole" / "atlas.bin", tmp_path / "grown" / "atlas.bin"
    builder.write([new, middle, old], whole)
    builder.write([old, new], grown)
    builder.write([*builder.exports_in(grown), middle], grown)
    for suffix in (".bin", ".toml"):
        assert grown.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()
    atlas = Atlas.open(grown)
    assert [str(found) for found in atlas.releases] == ["9.9.0", "9.9.1", "9.10.0"]
    assert [str(found) for found in atlas.exported_by("n45")] == ["9.9.0", "9.9.1", "9.10.0"]
    assert [str(found) for found in atlas.exported_by("n19")] == ["9.9.0"]
    assert atlas.released[Version("9.10.0")] == datetime.date(2030, 1, 2)
    assert atlas.provenance[0].names == 51
    assert atlas.provenance[0].libraries == {"libc10.so": 50, "libtorch.so": 2}


def test_two_names_of_one_fingerprint_are_refused(tools: tuple[ModuleType, ModuleType]) -> None:
    builder, exports = tools
    found = {"version": "9.0.0", "libraries": {"libc10.so": ["one"]}}
    with pytest.raises(exports.CannotRead, match="longer keys"):
        builder.exports_of(found, {fingerprint("one"): "another"})


def lock(version: str, *urls: str) -> dict[str, Any]:
    uploaded = datetime.datetime(2030, 1, 20, tzinfo=datetime.timezone.utc)
    wheels = [
        {"url": url, "upload-time": uploaded - datetime.timedelta(days=day), "hashes": {"sha256": f"{day:064}"}}
        for day, url in enumerate(urls)
    ]
    return {"packages": [{"name": "torch", "version": version, "wheels": wheels}]}


def test_of_two_builds_of_a_release_the_installers_choice_is_read(tools: tuple[ModuleType, ModuleType]) -> None:
    exports = tools[1]
    rebuilt = WHEEL.replace("9.0.0-", "9.0.0-3-")
    wheel = exports._only_wheel(lock("9.0.0", f"https://index/{rebuilt}", f"https://index/{WHEEL}"))
    assert (wheel.name, wheel.uploaded, wheel.sha256) == (rebuilt, "2030-01-19", f"{0:064}")


@pytest.mark.parametrize(
    "found",
    [
        lock("9.0.0+cpu", f"https://index/{WHEEL}"),
        lock("9.0.0", f"file:///wheels/{WHEEL}"),
        lock("9.0.0"),
        {"packages": [{"name": "torch", "version": "9.0.0", "wheels": [{"path": f"/wheels/{WHEEL}"}]}]},
    ],
)
def test_what_is_not_the_indexs_own_build_is_refused(tools: tuple[ModuleType, ModuleType], found: Any) -> None:
    with pytest.raises(tools[1].CannotRead, match="not the index's own build"):
        tools[1]._only_wheel(found)


def uv() -> str:
    return str(Path(sys.executable).with_name("uv"))


def test_a_local_build_that_uv_offers_is_refused(
    tools: tuple[ModuleType, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = b"Metadata-Version: 2.1\nName: torch\nVersion: 9.0.0+cpu\n"
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    folder = "torch-9.0.0+cpu.dist-info"
    content = wheel_of({f"{folder}/METADATA": metadata, f"{folder}/WHEEL": tags, f"{folder}/RECORD": b""})
    (tmp_path / "torch-9.0.0+cpu-py3-none-any.whl").write_bytes(content)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    with pytest.raises(tools[1].CannotRead, match=r"9\.0\.0\+cpu"):
        tools[1].find_wheel("==9.0.0", uv=uv(), platform="x86_64-manylinux_2_28")


@pytest.mark.index
def test_the_shipped_atlas_has_every_release_of_the_index(tools: tuple[ModuleType, ModuleType]) -> None:
    found = tools[1].find_releases(Version("2.0.0"), uv=uv(), platform="x86_64-manylinux_2_28")
    provenance = Atlas.open().provenance
    assert {(wheel.version, wheel.name, wheel.sha256, wheel.uploaded) for wheel in found} == {
        (release.version, release.wheel, release.sha256, release.released.isoformat()) for release in provenance
    }


@pytest.mark.index
def test_a_small_library_of_a_real_wheel_is_as_the_atlas_has_it(tools: tuple[ModuleType, ModuleType]) -> None:
    atlas = Atlas.open()
    wheel = tools[1].find_wheel("==2.9.1", uv=uv(), platform="x86_64-manylinux_2_28")
    names, received = tools[1].read_exports(wheel, ["libc10.so"])
    assert received < 20_000_000
    assert len(names["libc10.so"]) == {r.version: r for r in atlas.provenance}[wheel.version].libraries["libc10.so"]
    assert all(wheel.version in atlas.exported_by(name) for name in names["libc10.so"])


def test_the_command_says_how_it_is_used() -> None:
    script = ROOT / "scripts" / "dev" / "build_abi_atlas.py"
    done = subprocess.run([sys.executable, script, "--help"], check=True, capture_output=True, text=True)
    assert "--add 2.16.0" in done.stdout
    assert "--work" in done.stdout
