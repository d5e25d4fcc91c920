"""Check the project: formatting, lint, types, architecture and tests, on a CPU and offline.

The quick lane has the tests of every module and of whole steps; `lanes=all` adds the folders of tests that harm, flood
and deceive, and those that need a browser or PostgreSQL.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from steps.commands import command

FURTHER = ("fault", "fuzz", "load", "browser", "postgres")
"""Folders of `tests` that the quick lane leaves out."""
WORKERS = 2
_CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports", "--no-cache", "--no-logo"),
)
_NO_TESTS = 5
"""What pytest ends with if none is left."""


@command
@click.option(
    "--lanes",
    type=click.Choice(["quick", "all"]),
    default="quick",
    show_default=True,
    help=f"All tests, or all but those of {', '.join(FURTHER)}.",
)
def main(lanes: str) -> None:
    """Run every check and stop at the first that fails."""
    from atma18.storage.digests import PROJECT_FOLDER

    with tempfile.TemporaryDirectory(prefix="atma18-tests-") as shared:
        environment = _environment(Path(shared))
        for words in (*_CHECKS, *_tests(lanes)):
            click.echo(f"== {' '.join(words)}")
            program = Path(sys.executable).with_name(words[0])
            done = subprocess.run([program, *words[1:]], cwd=PROJECT_FOLDER, env=environment, check=False)
            if done.returncode not in ((0, _NO_TESTS) if words[0] == "pytest" else (0,)):
                raise SystemExit(done.returncode)


def _tests(lanes: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of two calls of pytest: of several tests at once, and of those that need the machine alone."""
    left_out = [f"--ignore=tests/{folder}" for folder in FURTHER if lanes == "quick"]
    yield (
        "pytest",
        "-q",
        "-n",
        str(WORKERS),
        "--dist=loadfile",
        "--no-loadscope-reorder",
        "-m",
        "not alone",
        *left_out,
    )
    yield ("pytest", "-q", "-m", "alone", *left_out)


def _environment(shared: Path) -> dict[str, str]:
    """Return what the checks get of this process's environment.

    What `mlflow run` sets would send the tests into the caller's store. And without compiled files each of the many
    processes that tests start would spend ten seconds on compiling the libraries again.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MLFLOW_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return kept | {"ATMA18_TESTS_SHARED": str(shared)}


if __name__ == "__main__":
    main()
