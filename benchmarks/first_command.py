"""The first command, `main` with its default preset on drives as many as the demo's, beside an earlier build.

The reference is the build of the commit that `--before` names, in a worktree of its own. Every `main` has a fresh store
and a fresh cache, and runs in a process of its own, one after the other. The blend's gain over the motion model is the
cross-fitted one that `main` itself records, with its paired 95 % interval over scenes.

    python -m benchmarks.first_command --quick
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from atma18 import simulate
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import results

DEMO_SEED = simulate.DEMO.seed
GAIN = "gain_over_motion"


def run_main(build: Path, drives: Path, store: Path) -> dict[str, Any]:
    """Run `main` of a build as a person does; return its seconds and what its runs record."""
    store.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "OMP_", "GOMP_"))}
    environment = kept | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
        "ATMA18_CACHE": f"{store}/cache",
        "PYTHONPATH": str(build),
    }
    started_s = time.perf_counter()
    with (store / "log.txt").open("w") as log:
        words = [sys.executable, "-m", "steps.main", f"--data={drives}"]
        subprocess.run(words, cwd=store, env=environment, check=True, stdout=log, stderr=log)
    seconds = time.perf_counter() - started_s
    os.environ.update(environment)
    from atma18 import tracking  # here, for MLflow reads the environment

    figures = {step: tracking.figures_of(run_id) for step, run_id in tracking.delivered().items()}
    found = {"seconds": seconds, "mae_m": {step: of_step["oof/mae_m"] for step, of_step in figures.items()}}
    gain = {name: value for name, value in figures["blend"].items() if name.startswith(GAIN)}
    return found | {name.removeprefix(f"{GAIN}/"): value for name, value in gain.items()}


def of_seed(folder: Path, seed: int, scenes: tuple[int, int]) -> dict[str, Any]:
    """Simulate drives with a seed, and run this build's `main` on them."""
    drives = folder / f"drives{seed}"
    plan = replace(simulate.DEMO, train_scenes=scenes[0], test_scenes=scenes[1], seed=seed)
    simulate.write_drives(drives, plan, workers=2)
    found = run_main(PROJECT_FOLDER, drives, folder / f"store{seed}")
    motion_m, blend_m = (found["mae_m"][step] for step in ("motion", "blend"))
    found["gain_relative"] = found["mean_m"] / motion_m
    gain = "{mean_m:+.4f} m ({low_m:+.4f} to {high_m:+.4f}), {gain_relative:.1%}".format(**found)
    click.echo(f"seed {seed}: {found['seconds']:4.0f} s, motion {motion_m:.4f} m, blend {blend_m:.4f} m, gain {gain}")
    return found


def of_before(folder: Path, commit: str) -> dict[str, Any]:
    """Run `main` of another commit on the demo's drives."""
    build = folder / "before"
    subprocess.run(["git", "worktree", "add", "--detach", build, commit], cwd=PROJECT_FOLDER, check=True)
    try:
        found = run_main(build, folder / f"drives{DEMO_SEED}", folder / "store-before")
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", build], cwd=PROJECT_FOLDER, check=True)
    click.echo(f"{commit}: {found['seconds']:4.0f} s, blend {found['mae_m']['blend']:.4f} m")
    return {"commit": commit, "seconds": found["seconds"], "mae_m": found["mae_m"]}


@click.command()
@click.option("--seeds", default=5, show_default=True, help="Further simulated drives.")
@click.option("--before", default="", help="The commit of the earlier build; none runs this build alone.")
@click.option("--quick", is_flag=True, help="40 scenes, no further drives.")
@results.json_option
def main(seeds: int, before: str, quick: bool, file: Path | None) -> None:
    """Print the seconds of `main` and how far its blend is below the motion model."""
    scenes = (40, 10) if quick else (simulate.DEMO.train_scenes, simulate.DEMO.test_scenes)
    others = range(DEMO_SEED + 1, DEMO_SEED + 1 + (0 if quick else seeds))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        demo = of_seed(folder, DEMO_SEED, scenes)
        demo["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
        found: dict[str, Any] = {"scenes": scenes[0], "demo": demo}
        if before:
            found["before"] = of_before(folder, before)
            found["ratio"] = demo["seconds"] / found["before"]["seconds"]
            click.echo(f"{found['ratio']:.2f} times the seconds of the earlier build")
        found["seeds"] = {str(seed): of_seed(folder, seed, scenes) for seed in others}
    results.keep(file, found)


if __name__ == "__main__":
    main()
