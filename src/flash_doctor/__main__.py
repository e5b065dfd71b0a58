"""`python -m flash_doctor`, `flash-doctor` and `doctor`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from flash_doctor.cli import app

    app()


if __name__ == "__main__":
    main()
