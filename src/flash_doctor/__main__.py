"""`python -m flash_doctor`, `flash-doctor` and `doctor`."""

from __future__ import annotations

import sys

from flash_doctor.cli.boundary import run


def main() -> None:
    """Run the command line; an error in it ends as words and an exit code."""
    sys.exit(run(_command, sys.argv[1:]))


def _command() -> int:
    # imported inside the boundary: even Ctrl-C during the imports ends in words
    from flash_doctor.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    main()
