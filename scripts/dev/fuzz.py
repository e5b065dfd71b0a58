"""Changed inputs for every reader of what strangers wrote, under limits: nothing may come out but what is promised.

    scripts/dev/fuzz.py --list
    scripts/dev/fuzz.py --minutes 60 --jobs 2 --record tests/live/evidence/fuzz-2026-12-01.json
    scripts/dev/fuzz.py --kind wheel --kind zip --count 100000 --seed 7
    scripts/dev/fuzz.py --kind wheel --seed 7 --only 31415         one input again, with its traceback
    scripts/dev/fuzz.py --kind elf --coverage -max_total_time=300   guided by coverage, where atheris is installed

An exception that the reader does not promise, more than 2 s of CPU time or 500 MB for one input is a finding; its
input is kept in the folder of `--findings` with the command that makes it again. The seed, the kind and the number of
an input say all of it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "src")]


def main() -> int:
    options, rest = parser().parse_known_args()
    if options.coverage:
        return guided(options.kind, rest)
    if rest:
        parser().error(f"{rest[0]} is no option")
    from fuzzing.readers import READERS

    kinds = options.kind or sorted(READERS)
    if unknown := [kind for kind in kinds if kind not in READERS]:
        parser().error(f"no reader is called {unknown[0]}; --list names them")
    if options.list:
        print("\n".join(kinds))
        return 0
    if options.only is not None:
        return again(kinds[0], options)
    return run(kinds, options)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--list", action="store_true", help="name the readers")
    made.add_argument("--kind", action="append", default=[], help="a reader, several times for several (default: all)")
    made.add_argument("--seed", default="1", help="any word; with kind and number it makes an input")
    made.add_argument("--count", type=int, default=1 << 60, help="inputs for each reader")
    made.add_argument("--minutes", type=float, default=0.0, help="for all readers together; each gets the same share")
    made.add_argument("--jobs", type=int, default=1, help="readers at work at the same time")
    made.add_argument("--only", type=int, help="the number of one input, which is tried here and now")
    made.add_argument("--findings", type=Path, help="where inputs of findings are kept (default: a temporary folder)")
    made.add_argument("--record", type=Path, help="a JSON file for what came out")
    made.add_argument(
        "--coverage", action="store_true", help="hand the reader to atheris; what follows goes to libFuzzer"
    )
    return made


def again(kind: str, options: argparse.Namespace) -> int:
    from fuzzing.readers import READERS
    from fuzzing.running import made

    reader = READERS[kind]
    reader.prepare()
    data = made(reader, options.seed, options.only)
    sys.stdout.buffer.write(data[:2000] + (b"...\n" if len(data) > 2000 else b"\n"))
    began = time.process_time()
    try:
        reader.call(data)
        print("read")
    except reader.allowed as error:
        print(f"refused, as it should: {error}")
    print(f"{time.process_time() - began:.3f} s")
    return 0


def run(kinds: list[str], options: argparse.Namespace) -> int:
    from fuzzing.running import tried

    if options.count == 1 << 60 and not options.minutes:
        options.minutes = 1.0
    seconds = options.minutes * 60 * options.jobs / len(kinds) if options.minutes else 1e9
    folder = options.findings or Path(tempfile.mkdtemp(prefix="flash-doctor-findings-"))
    tallies = []
    limits = {"seed": options.seed, "count": options.count, "seconds": seconds, "jobs": options.jobs}
    for tally in tried(kinds, folder=folder, **limits):
        tallies.append(tally)
        rate = tally.inputs / max(tally.seconds, 0.01)
        print(
            f"{tally.kind:20} {tally.inputs:9,} inputs {rate:8,.0f}/s  read {tally.read:9,}  "
            f"slowest {tally.slowest:.3f} s  largest {tally.largest >> 20} MiB  findings {len(tally.findings)}",
            flush=True,
        )
        for why in dict.fromkeys(finding["why"] for finding in tally.findings):
            print(f"    {why}")
    found = sum(len(tally.findings) for tally in tallies)
    print(
        f"{sum(tally.inputs for tally in tallies):,} inputs, {found} findings"
        + (f", kept in {folder}" if found else "")
    )
    if options.record:
        options.record.write_text(json.dumps(document(tallies, options.seed), indent=1) + "\n", encoding="utf-8")
    return 1 if found else 0


def document(tallies: list[object], seed: str) -> dict[str, object]:
    told = [asdict(tally) for tally in sorted(tallies, key=lambda tally: tally.kind)]  # type: ignore[call-overload, attr-defined]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit.strip(),
        "machine": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "seed": seed,
        "inputs": sum(tally["inputs"] for tally in told),
        "findings": sum(len(tally["findings"]) for tally in told),
        "kinds": told,
    }


def guided(kinds: list[str], options: list[str]) -> int:
    """Coverage-guided, by libFuzzer; our own changes are tried as well as its own."""
    try:
        import atheris
    except ImportError:
        print("--coverage needs atheris, which is no dependency: pip install atheris", file=sys.stderr)
        return 2
    from random import Random

    with atheris.instrument_imports(include=["flash_doctor", "packaging"]):
        from fuzzing.readers import READERS

        if len(kinds) != 1 or kinds[0] not in READERS:
            print("--coverage takes one --kind", file=sys.stderr)
            return 2
        reader = READERS[kinds[0]]
        reader.prepare()

    def one(data: bytes) -> None:
        with contextlib.suppress(*reader.allowed):
            reader.call(data)

    def changed(data: bytes, size: int, seed: int) -> bytes:
        random = Random(seed)
        made = atheris.Mutate(data, size) if random.randrange(3) else reader.mutate(random)
        return bytes(made[:size])

    with tempfile.TemporaryDirectory() as folder:
        for index, seed in enumerate(reader.plain):
            Path(folder, str(index)).write_bytes(seed)
        limits = ["-timeout=10", "-rss_limit_mb=1500", "-max_len=100000", "-len_control=0"]
        atheris.Setup([sys.argv[0], *limits, *options, folder], one, custom_mutator=changed)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
