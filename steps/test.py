"""Check the project: formatting, lint, types and the whole test-suite, on a CPU and offline."""

import os
import subprocess
import sys

import click

from atma18.storage.digests import PROJECT_FOLDER

CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("pytest", "-q"),
)


@click.command()
def main() -> None:
    """Run every check and stop at the first that fails."""
    # The variables that `mlflow run` sets would direct the tests to the caller's store. Without compiled files, each of
    # the many processes that tests start would compile the libraries again, which takes ten seconds.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MLFLOW_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    for check in CHECKS:
        click.echo(f"== {' '.join(check)}")
        done = subprocess.run([sys.executable, "-m", *check], cwd=PROJECT_FOLDER, env=environment, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
