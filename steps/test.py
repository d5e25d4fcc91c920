"""Check the project: formatting, lint, types, architecture and tests, on a CPU and offline.

A lane is a folder of `tests`. The quick ones have the tests of every module and of whole steps. The others kill
processes, run several at once, cut the network or change the environment (fault), deceive (fuzz), ask a model server
(served), run measurements in little (benchmarks), need a browser or PostgreSQL, or flood a server (load), for which
they have the machine alone.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from steps.commands import command

FURTHER = ("fault", "fuzz", "served", "benchmarks", "browser", "postgres")
"""The lanes that `quick` leaves out."""
ALONE = "load"
"""The lane that runs last, when no other test does; `quick` leaves it out too."""
WORKERS = 2
_CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports", "--no-cache", "--no-logo"),
)


@command
@click.option(
    "--lanes",
    type=click.Choice(["quick", "all"]),
    default="quick",
    show_default=True,
    help=f"All tests, or all but those in the folders {', '.join((*FURTHER, ALONE))}.",
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
            if done.returncode:
                raise SystemExit(done.returncode)


def _tests(lanes: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each call of pytest."""
    left_out = [ALONE, *(FURTHER if lanes == "quick" else ())]
    together = ("-n", str(WORKERS), "--dist=loadfile", "--no-loadscope-reorder")
    yield ("pytest", "-q", *together, *(f"--ignore=tests/{folder}" for folder in left_out))
    if lanes == "all":
        yield ("pytest", "-q", f"tests/{ALONE}")


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
