"""Cost of sharing the machine: nn1 alone, beside a busy process, and twice at once, with two ways of waiting.

And whether the precision of a backbone is chosen alike, whatever else the machine does.

The reference is libgomp's default, 300,000 spins of an idle thread (GNU libgomp manual, GOMP_SPINCOUNT), so that two
processes take the cores from each other. The steps let idle threads sleep: they set OMP_WAIT_POLICY=PASSIVE.

    python -m benchmarks.sharing --quick
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from atma18 import simulate
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import results

REFERENCE, OURS = "libgomp's default", "asleep"
WAYS: dict[str, dict[str, str]] = {REFERENCE: {"GOMP_SPINCOUNT": "300000"}, OURS: {}}


_ASK = (
    "from atma18.backbones import precision; from atma18.compute import Compute; from atma18.config import EmbedConfig;"
    "print(precision.of_embed(EmbedConfig(), Compute.choose()))"
)
SITUATIONS = {"alone": (1, False), "beside a busy process": (1, True), "two at once": (2, False)}
"""The number of trainings, and whether one thread of another process is busy all the time."""


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Keep one core busy, if wanted."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if other is not None:
            other.kill()
            other.wait()


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


def precisions(folder: Path, times: int) -> list[str]:
    """Return what embed is told of its precision in so many new processes, each with a fresh cache."""
    found = []
    for number in range(times):
        environment = dict(os.environ) | {"ATMA18_CACHE": str(folder / str(number)), "PYTHONPATH": str(PROJECT_FOLDER)}
        words = [sys.executable, "-c", _ASK]
        found.append(subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout)
    return found


@click.command()
@click.option("--scenes", default=150, show_default=True, help="Simulated training scenes.")
@click.option("--epochs", default=30, show_default=True, help="Of each training.")
@click.option("--quick", is_flag=True, help="12 scenes, one epoch.")
@results.json_option
def main(scenes: int, epochs: int, quick: bool, file: Path | None) -> None:
    """Print the seconds in each situation, both ways, and their ratios to those alone with libgomp's default."""
    scenes, epochs = (12, 1) if quick else (scenes, epochs)
    found: dict[str, dict[str, float]] = {name: {} for name in WAYS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        simulate.write_drives(folder / "drives", simulate.Plan(scenes, 5, seed=1))
        seconds(folder, 1, 1, {})  # fills the cache
        for situation, (processes, beside) in SITUATIONS.items():
            for name, variables in WAYS.items():
                with busy(beside):
                    found[name][situation] = seconds(folder, processes, epochs, variables)
        asked = 1 if quick else 5
        told = precisions(folder / "alone", asked)
        with busy(True):
            told += precisions(folder / "beside", asked)
    click.echo(f"{len(told)} fresh caches: {set(told)}")
    alone_s = found[REFERENCE]["alone"]
    for name, times_s in found.items():
        for situation, value in times_s.items():
            click.echo(f"{name:18} {situation:22} {value:8.1f} s {value / alone_s:8.2f} times")
    results.keep(file, {"scenes": scenes, "epochs": epochs, "seconds": found, "precisions": len(set(told))})


if __name__ == "__main__":
    main()
