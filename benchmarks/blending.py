"""The exact weights of a blend beside those of scipy's Nelder–Mead, the published method, in one run.

Predictions are simulated with the competition's numbers of samples and targets. Their errors are heavy-tailed and
correlated, like the errors of models with the same frames as input. Then, on few scenes, the exact weights beside those
with a pull to safe weights (`few_scenes`).

    python -m benchmarks.blending --quick
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import psutil

from atma18.blending import convex_weights, methods
from atma18.config import BlendConfig
from atma18.schema import AXES, WAYPOINT_TIMES_S, FloatArray
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import few_scenes, results

ROWS, QUICK_ROWS = 43_371, 3_000
DRAWS, QUICK_DRAWS = 60, 3
INPUTS = (4, 8, 16)
SPREAD_M = {"x": 8.0, "y": 1.5, "z": 0.2}
ERROR_M_PER_S = {"x": 0.2, "y": 0.17, "z": 0.02}
TAILS = 2.5
"""Degrees of freedom of Student's t: the errors have a deviation, but no fourth moment."""


def predictions(inputs: int, rows: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Return (M, N, 18) predictions and (N, 18) targets in metres; each input errs with the others, and by itself."""
    rng = np.random.default_rng(seed)
    targets_m = rng.normal(size=(rows, 18)) * np.tile([SPREAD_M[axis] for axis in AXES], len(WAYPOINT_TIMES_S))
    scale_m = np.outer(WAYPOINT_TIMES_S, [ERROR_M_PER_S[axis] for axis in AXES]).ravel()
    together_m = 0.6 * scale_m * rng.standard_t(TAILS, size=(rows, 18))
    stack_m = np.empty((inputs, rows, 18))
    for k, input_m in enumerate(stack_m):
        own_m = (0.4 + 0.05 * k) * scale_m * rng.standard_t(TAILS, size=(rows, 18))
        np.add(targets_m * (1 + 0.002 * k), together_m + own_m, out=input_m)
    return stack_m, targets_m


def compare(inputs: int, rows: int) -> dict[str, float]:
    """Solve the same problem both ways."""
    stack_m, targets_m = predictions(inputs, rows)
    convex_weights.exact(stack_m[:, :100], targets_m[:100])  # loads the solvers
    started_s = time.perf_counter()
    optimum = convex_weights.exact(stack_m, targets_m)
    exact_s = time.perf_counter()
    searched = methods.nelder_mead(stack_m, targets_m, BlendConfig().max_iterations)
    ended_s = time.perf_counter()
    return {
        "mae_exact": optimum.mae_m,
        "mae_nelder_mead": float(np.abs(np.tensordot(searched, stack_m, axes=1) - targets_m).mean()),
        "relative_gap": optimum.gap,
        "seconds_exact": exact_s - started_s,
        "seconds_nelder_mead": ended_s - exact_s,
        "speed_ratio": (ended_s - exact_s) / (exact_s - started_s),
        "memory_ratio": memory_ratio(stack_m, targets_m),
    }


def memory_ratio(stack_m: FloatArray, targets_m: FloatArray) -> float:
    """Return the peak memory of a process that reads and solves, beyond its imports, in sizes of the stack."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/stack.npy", stack_m)
        np.save(f"{folder}/targets.npy", targets_m)
        words = [sys.executable, "-m", "benchmarks.blending", "--solve", folder]
        done = subprocess.run(words, cwd=PROJECT_FOLDER, check=True, capture_output=True, text=True)
    return float(done.stdout) / stack_m.nbytes


def solve(folder: Path) -> int:
    """Read and solve one problem, and return by how many bytes this process grew at most."""
    process = psutil.Process()
    convex_weights.exact(*predictions(4, 300))  # loads the solvers
    before = int(process.memory_info().rss)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    convex_weights.exact(np.load(folder / "stack.npy"), np.load(folder / "targets.npy"))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024 - before


@click.command()
@click.option(
    "--quick", is_flag=True, help=f"{QUICK_ROWS} samples, not {ROWS}; {QUICK_DRAWS} draws of few scenes, not {DRAWS}."
)
@results.json_option
@click.option("--solve", "folder", type=click.Path(path_type=Path), hidden=True)
def main(quick: bool, file: Path | None, folder: Path | None) -> None:
    """Print what both methods reach, and in what time; the ratio is Nelder–Mead's seconds by the exact method's."""
    if folder is not None:
        click.echo(solve(folder))
        return
    rows = QUICK_ROWS if quick else ROWS
    found = {}
    click.echo(f"{rows} samples x 18 targets; reference: scipy's Nelder–Mead")
    click.echo(
        "inputs  MAE m exact  Nelder–Mead  above the least  proven gap  seconds  Nelder–Mead  ratio  memory/stack"
    )
    for inputs in INPUTS:
        figures = found[f"K{inputs}"] = compare(inputs, rows)
        above = figures["mae_nelder_mead"] / figures["mae_exact"] - 1
        click.echo(
            f"{inputs:6} {figures['mae_exact']:12.6f} {figures['mae_nelder_mead']:12.6f} {above:15.4%} "
            f"{figures['relative_gap']:12.1e} {figures['seconds_exact']:8.2f} {figures['seconds_nelder_mead']:12.2f} "
            f"{figures['speed_ratio']:6.1f} {figures['memory_ratio']:13.2f}"
        )
    few = few_scenes.compare_all(QUICK_DRAWS if quick else DRAWS, quick)
    click.echo(few_scenes.table(few))
    results.keep(file, {**found, "few_scenes": few})


if __name__ == "__main__":
    main()
