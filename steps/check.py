"""Look at a dataset folder before anything trains: what has the right form and hardly possible content.

Reads   the data
Writes  one picture
"""

from pathlib import Path

import click

from atma18.cache import Cache
from steps.commands import command
from steps.messages import clear_messages


@command
@click.option("--data", default="demo", show_default=True, help="Dataset folder, or demo: simulated drives.")
@click.option(
    "--out", default="check.png", type=click.Path(dir_okay=False, path_type=Path), show_default=True, help="A picture."
)
def main(data: str, out: Path) -> None:
    """Compare signals, waypoints and frames: units, signs, order of frames, camera, duplicated scenes."""
    from atma18 import checks
    from atma18.data.dataset import Dataset

    with clear_messages():
        dataset = Dataset.open(data, Cache.open(), test_alone=True)
    suspicions = checks.check(dataset)
    for number, suspicion in enumerate(suspicions, start=1):
        click.echo(f"{number}. {suspicion}")
    out.parent.mkdir(parents=True, exist_ok=True)
    checks.draw(dataset).savefig(out, dpi=80)
    found = {0: "nothing looks wrong", 1: "1 thing looks wrong"}.get(
        len(suspicions), f"{len(suspicions)} things look wrong"
    )
    samples = f"{len(dataset.train)} training and {len(dataset.test)} test samples"
    click.echo(f"check: {found} in {samples} of {data}; the picture is {out.absolute()}")


if __name__ == "__main__":
    main()
