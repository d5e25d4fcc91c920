"""Write simulated drives as a dataset folder in the competition's layout.

Reads   nothing
Writes  the folder `out`, and in it test_targets.csv, which the steps do not read
"""

import os
from pathlib import Path

import click

from steps.commands import command
from steps.messages import clear_messages


@command
@click.option("--out", default="drives", show_default=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option("--scenes", default=905, show_default=True, help="Training scenes; the competition has 9053.")
@click.option("--test_scenes", default=47, show_default=True, help="Test scenes; the competition has 468.")
@click.option("--seed", default=0, show_default=True, help="Draws everything.")
@click.option(
    "--workers", default=0, type=click.IntRange(min=0), show_default=True, help="Processes; 0 means one per core."
)
def main(out: Path, scenes: int, test_scenes: int, seed: int, workers: int) -> None:
    """Simulate drives; the same seed gives the same drives, whatever the number of workers.

    An interrupted call is gone on from by the same one.
    """
    from atma18 import simulate

    with clear_messages():
        simulate.write_drives(out, simulate.Plan(scenes, test_scenes, seed), workers or os.cpu_count() or 1)
    click.echo(f"simulate: {scenes} training and {test_scenes} test scenes are in {out.absolute()}")


if __name__ == "__main__":
    main()
