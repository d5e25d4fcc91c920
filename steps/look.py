"""Draw some samples of a dataset folder: frames, traffic lights and waypoints.

Reads   the data
Writes  one picture
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from atma18.cache import Cache
from steps.commands import command
from steps.messages import clear_messages

if TYPE_CHECKING:
    import pandas as pd

    from atma18.data.dataset import Dataset
    from atma18.schema import FloatArray, IntArray


@command
@click.option("--data", default="demo", show_default=True, help="Dataset folder, or demo: simulated drives.")
@click.option("--samples", default=12, type=click.IntRange(1, 100), show_default=True, help="How many are drawn.")
@click.option("--seed", default=0, show_default=True, help="Draws other samples.")
@click.option(
    "--out", default="look.png", type=click.Path(dir_okay=False, path_type=Path), show_default=True, help="A picture."
)
def main(data: str, samples: int, seed: int, out: Path) -> None:
    """Draw training samples from the slowest to the fastest: the three frames, the waypoints on them and from above."""
    from atma18 import plots
    from atma18.data.dataset import Dataset

    with clear_messages():
        dataset = Dataset.open(data, Cache.open())
    rows = _from_slow_to_fast(dataset, samples, seed)
    ids, speeds_mps = dataset.train.ids[rows].tolist(), dataset.train.signals["vEgo"].to_numpy()[rows]
    titles = [f"{i}, {speed_mps:.1f} m/s" for i, speed_mps in zip(ids, speeds_mps, strict=True)]
    boxes_px = [_boxes_px(dataset.train.traffic_lights, i) for i in ids]
    frames, truth_m = dataset.train.frames[rows], dataset.targets_m[rows]
    sheet = plots.contact_sheet(frames, truth_m, boxes_px, dataset.camera, titles)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.savefig(out, dpi=70)
    click.echo(f"look: {len(rows)} samples are drawn in {out.absolute()}")


def _from_slow_to_fast(dataset: "Dataset", samples: int, seed: int) -> "IntArray":
    """Choose random rows, ordered by the car's distance ahead after three seconds."""
    import numpy as np

    from atma18.schema import TARGETS

    count = min(samples, len(dataset.train))
    rows = np.random.default_rng(seed).choice(len(dataset.train), count, replace=False)
    return np.asarray(rows[np.argsort(dataset.targets_m[rows, TARGETS.index("x_5")])])


def _boxes_px(lights: "pd.DataFrame | None", sample_id: str) -> "FloatArray":
    """Return the (B, 4) boxes of a sample's traffic lights, pixels."""
    import numpy as np

    from atma18.schema import LIGHT_BOX

    if lights is None:
        return np.empty((0, 4))
    return lights.loc[lights["ID"] == sample_id, list(LIGHT_BOX)].to_numpy()


if __name__ == "__main__":
    main()
