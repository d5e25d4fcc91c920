"""The first command, `main` with its default preset on drives as many as the demo's, beside an earlier build.

The reference is the build of the commit that `--before` names, in a worktree of its own. Every `main` has a fresh store
and a fresh cache, and runs in a process of its own, one after the other. The blend's gain over the motion model is the
cross-fitted one that `main` itself records, with its paired 95 % interval over scenes.

    python -m benchmarks.first_command --quick
"""

import resource
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from atma18 import simulate
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import results
from benchmarks.mains import build_of, run_main

DEMO_SEED = simulate.DEMO.seed
GAIN = "gain_over_motion"


def record(store: Path, build: Path, drives: Path) -> dict[str, Any]:
    """Run `main` of a build; return its seconds, the error of each step, and the blend's gain."""
    done = run_main(build, store, drives)
    gain = {name: value for name, value in done.figures["blend"].items() if name.startswith(GAIN)}
    of_gain = {name.removeprefix(f"{GAIN}/"): value for name, value in gain.items()}
    return {"seconds": done.seconds, "mae_m": done.mae_m, **of_gain}


def of_seed(folder: Path, seed: int, scenes: tuple[int, int]) -> dict[str, Any]:
    """Simulate drives with a seed, and run this build's `main` on them."""
    drives = folder / f"drives{seed}"
    plan = replace(simulate.DEMO, train_scenes=scenes[0], test_scenes=scenes[1], seed=seed)
    simulate.write_drives(drives, plan, workers=2)
    found = record(folder / f"store{seed}", PROJECT_FOLDER, drives)
    motion_m, blend_m = (found["mae_m"][step] for step in ("motion", "blend"))
    found["gain_relative"] = found["mean_m"] / motion_m
    gain = "{mean_m:+.4f} m ({low_m:+.4f} to {high_m:+.4f}), {gain_relative:.1%}".format(**found)
    click.echo(f"seed {seed}: {found['seconds']:4.0f} s, motion {motion_m:.4f} m, blend {blend_m:.4f} m, gain {gain}")
    return found


def of_before(folder: Path, commit: str) -> dict[str, Any]:
    """Run `main` of another commit on the demo's drives."""
    with build_of(commit, folder / "before") as build:
        found = record(folder / "store-before", build, folder / f"drives{DEMO_SEED}")
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
