"""Are there known vulnerabilities in what the doctor runs with? Run by scripts/dev/check, over scripts/locks/run.txt.

Ends with 1 where pip-audit names one that pyproject.toml ([tool.audit.ignore], name = "why") does not. Where no service
answers it says in one line that nothing was audited, and ends with 0: to be without that network is no vulnerability.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "scripts" / "locks" / "run.txt"
SECONDS = 60.0  # for one service
_EACH_ANSWER = "10"


@dataclass(frozen=True)
class Vulnerability:
    package: str
    names: frozenset[str]
    mended_in: tuple[str, ...]

    def __str__(self) -> str:
        mended = f"mended in {', '.join(self.mended_in)}" if self.mended_in else "not mended yet"
        return f"{self.package}: {', '.join(sorted(self.names))} ({mended})"


@dataclass(frozen=True)
class Audit:
    """What one service said; `unknown` are the packages that it does not have."""

    audited: int = 0
    unknown: tuple[str, ...] = ()
    found: tuple[Vulnerability, ...] = ()
    why_not: str = ""

    @classmethod
    def of(cls, document: dict[str, Any]) -> Audit:
        rows = document["dependencies"]
        known = [row for row in rows if "skip_reason" not in row]
        found = [
            Vulnerability(
                f"{row['name']} {row['version']}",
                frozenset({entry["id"], *entry.get("aliases", ())}),
                tuple(entry.get("fix_versions", ())),
            )
            for row in known
            for entry in row["vulns"]
        ]
        unknown = tuple(row["name"] for row in rows if "skip_reason" in row)
        return cls(len(known), unknown, tuple(found), "" if known else "the service knows none of the packages")


def ask(service: list[str], lock: Path, seconds: float = SECONDS) -> Audit:
    """One run of pip-audit, which reads the lock and takes nothing from an index."""
    argv = [sys.executable, "-I", "-m", "pip_audit", "--require-hashes", "--disable-pip", "--requirement", str(lock)]
    argv += ["--format", "json", "--progress-spinner", "off", "--timeout", _EACH_ANSWER, *service]
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=seconds)
        return Audit.of(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return Audit(why_not=f"no answer within {seconds:g} s")
    except (ValueError, KeyError, TypeError):
        return Audit(why_not=(done.stderr.strip().splitlines() or ["no answer"])[-1].partition(": ")[0])


def judged(audit: Audit, ignored: dict[str, str]) -> tuple[list[str], bool]:
    """What to say of an audit, and whether something stands against the lock."""
    bad = [one for one in audit.found if not one.names & ignored.keys()]
    lines = [f"audit: VULNERABLE {one}" for one in bad]
    for one in audit.found:
        lines += [f"audit: {one}: ignored, {ignored[name]}" for name in sorted(one.names & ignored.keys())]
    left = f"; the service does not know {', '.join(audit.unknown)}" if audit.unknown else ""
    lines.append(f"audit: {audit.audited} packages of the lock, {len(bad)} known vulnerabilities{left}")
    if bad:
        lines.append(
            "audit: take a mended one (scripts/dev/lock --upgrade), or, where it does not concern us, "
            "say why in pyproject.toml, [tool.audit.ignore]"
        )
    return lines, bool(bad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--pyproject", type=Path, default=ROOT / "pyproject.toml")
    parser.add_argument("--osv-url", help="ask this service, in OSV's words, and no other")
    arguments = parser.parse_args()
    table = tomllib.loads(arguments.pyproject.read_text(encoding="utf-8"))
    osv = ["--vulnerability-service", "osv"]
    services = [[*osv, "--osv-url", arguments.osv_url]] if arguments.osv_url else [[], osv]
    refusals = []
    for service in services:
        audit = ask(service, arguments.lock)
        if not audit.why_not:
            lines, bad = judged(audit, table["tool"]["audit"]["ignore"])
            print("\n".join(lines))
            sys.exit(1 if bad else 0)
        refusals.append(audit.why_not)
    print(f"audit: not made, no vulnerability service answers here: {'; '.join(refusals)}")


if __name__ == "__main__":
    main()
