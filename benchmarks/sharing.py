"""Cost of sharing the machine: one nn1 and two at once, with two settings of how idle threads wait.

The reference is libgomp's default, 300,000 spins of an idle thread (GNU libgomp manual, GOMP_SPINCOUNT), so that two
processes take the cores from each other. The steps let idle threads sleep: they set OMP_WAIT_POLICY=PASSIVE.

    python -m benchmarks.sharing --quick
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from atma18 import simulate
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import results

REFERENCE, OURS = "libgomp's default", "asleep"
WAYS: dict[str, dict[str, str]] = {REFERENCE: {"GOMP_SPINCOUNT": "300000"}, OURS: {}}


def seconds(folder: Path, processes: int, epochs: int, variables: dict[str, str]) -> float:
    """Measure so many trainings of nn1 at once, each with a store of its own and a cache that is filled."""
    with tempfile.TemporaryDirectory(dir=folder) as stores:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GOMP_", "OMP_"))
        }
        environment |= {"ATMA18_CACHE": str(folder / "cache"), "PYTHONPATH": str(PROJECT_FOLDER)} | variables
        words = [sys.executable, "-m", "steps.nn1", f"--data={folder / 'drives'}", f"--num_epochs={epochs}"]
        started_s = time.perf_counter()
        running = []
        for number in range(processes):
            store = Path(stores) / str(number)
            store.mkdir()
            own = environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
            running.append(subprocess.Popen(words, cwd=store, env=own, stdout=subprocess.DEVNULL))
        if any(process.wait() for process in running):
            raise RuntimeError("expected every training to succeed, found one that failed")
        return time.perf_counter() - started_s


@click.command()
@click.option("--epochs", default=6, show_default=True, help="Of each of the two stages.")
@click.option("--quick", is_flag=True, help="One epoch.")
@results.json_option
def main(epochs: int, quick: bool, file: Path | None) -> None:
    """Print the seconds alone and together, both ways, and their ratios."""
    epochs = 1 if quick else epochs
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        simulate.write_drives(folder / "drives", simulate.Plan(12, 5, seed=1))
        seconds(folder, 1, 1, {})  # fills the cache
        found = {
            f"{name}, {processes} at once": seconds(folder, processes, epochs, variables)
            for processes in (1, 2)
            for name, variables in WAYS.items()
        }
    for name, value in found.items():
        click.echo(f"{name:32} {value:8.1f} s")
    for processes in (1, 2):
        default, ours = (found[f"{name}, {processes} at once"] for name in WAYS)
        found[f"ratio, {processes} at once"] = default / ours
        click.echo(f"{REFERENCE} / {OURS}, {processes} at once: {default / ours:.2f}")
    results.keep(file, found)


if __name__ == "__main__":
    main()
