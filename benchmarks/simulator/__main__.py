"""Print every figure of simulated drives beside the published one.

Every line has the measured figure, the published one, the accepted range, and a verdict.

    python -m benchmarks.simulator --scenes 905
"""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import click

from atma18 import simulate
from benchmarks import results
from benchmarks.simulator.drives import Drives
from benchmarks.simulator.ladder import ladder, of_net
from benchmarks.simulator.published import Line
from benchmarks.simulator.statistics import statistics

TEST_SHARE = 468 / 9053
QUICK_SCENES = 300


def lines(scenes: int, seed: int, threads: int, quick: bool) -> Iterator[Line]:
    """Yield one comparison after the other, the cheap ones first."""
    drives = Drives.draw(_plan(scenes, seed), threads)
    nets = of_net(_plan(max(1, round(scenes / 10)), seed), threads)
    yield from statistics(drives) if quick else chain(statistics(drives), ladder(drives, threads), nets)


def _plan(scenes: int, seed: int) -> simulate.Plan:
    return simulate.Plan(scenes, max(1, round(scenes * TEST_SHARE)), seed)


@click.command()
@click.option("--scenes", default=9053, show_default=True, help="Training scenes; test scenes in proportion.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=2, show_default=True, help="Of XGBoost, and processes that draw.")
@click.option("--quick", is_flag=True, help=f"{QUICK_SCENES} scenes, and no models.")
@results.json_option
def main(scenes: int, seed: int, threads: int, quick: bool, file: Path | None) -> None:
    """Print every figure of simulated drives beside the published one."""
    scenes = QUICK_SCENES if quick else scenes
    found = []
    for line in lines(scenes, seed, threads, quick):
        found.append(line)
        click.echo(str(line))
    unlike = sum(not line.alike for line in found)
    click.echo(f"{len(found) - unlike} of {len(found)} alike, {scenes} scenes, seed {seed}")
    as_json = [asdict(line) | {"alike": line.alike} for line in found]
    results.keep(file, {"scenes": scenes, "seed": seed, "lines": as_json})


if __name__ == "__main__":
    main()
