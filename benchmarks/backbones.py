"""Comparison of backbones: the error of embed's probe and of nn1 on the demo drives, samples per second, and memory.

The reference is the bundled backbone without its ImageNet weights. Each backbone is trained with the preset `quick`,
and each step runs in a separate process.

    python -m benchmarks.backbones --quick
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import results

REFERENCE = "lite0@none"
NAMES = ("lite0", REFERENCE, "torchvision:resnet18")
QUICK_NAMES = NAMES[:2]
PHASES = {"embed": "embed", "nn1": "train"}
"""The phase of a step in which its backbone works."""


def run_step(step: str, name: str, store: Path) -> dict[str, Any]:
    """Run a step on the demo drives, and return its figures."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment = kept | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
        "ATMA18_CACHE": f"{store}/cache",
        "PYTHONPATH": str(PROJECT_FOLDER),
    }
    command = [sys.executable, "-m", f"steps.{step}", f"--backbone={name}"]
    done = subprocess.run(command, cwd=store, env=environment, check=True, capture_output=True, text=True)
    [run_id] = re.findall(rf"{step}: run (\w+) finished", done.stdout)
    os.environ.update(environment)
    from atma18 import tracking  # here, for MLflow reads the environment

    figures = tracking.figures_of(run_id)
    phase = PHASES[step]
    return {
        "run_id": run_id,
        "oof_mae_m": figures["oof/mae_m"],
        "samples_per_s": figures[f"{phase}/samples_per_s"],
        "peak_memory_gb": figures[f"{phase}/peak_memory_gb"],
        "backbone_parameters": figures["parameters/backbone"],
    }


def line(name: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Put the figures of a backbone into one line."""
    steps = [
        f"{step} {figures['oof_mae_m']:.3f} m, {figures['samples_per_s']:.0f} samples/s, "
        f"{figures['peak_memory_gb']:.2f} GB"
        for step, figures in found.items()
    ]
    return f"{name} ({found['embed']['backbone_parameters'] / 1e6:.1f} M parameters): {'; '.join(steps)}"


@click.command()
@click.option("--backbone", "names", multiple=True, default=NAMES, show_default=True, help="Which ones.")
@click.option("--quick", is_flag=True, help="The bundled backbone with and without its weights.")
@results.json_option
def main(names: tuple[str, ...], quick: bool, file: Path | None) -> None:
    """Print what each backbone reaches, and how much better the bundled weights are than none."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in QUICK_NAMES if quick else names:
            found[name] = {step: run_step(step, name, Path(scratch)) for step in PHASES}
            click.echo(line(name, found[name]))
            results.write(file, {"backbones": found})
    if {"lite0", REFERENCE} <= found.keys():
        for step in PHASES:
            ratio = found["lite0"][step]["oof_mae_m"] / found[REFERENCE][step]["oof_mae_m"]
            click.echo(f"{step}: lite0 has {ratio:.2f} times the error of {REFERENCE}, the same net untrained")
    results.keep(file, {"backbones": found})


if __name__ == "__main__":
    main()
