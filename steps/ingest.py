"""Turn recordings of drives into a dataset folder.

Reads   openpilot routes, comma2k19 segments, nuScenes with its CAN bus, KITTI raw, or CAN logs with a DBC and a video
Writes  a dataset folder: tables, frames, camera.json, ingest.json, report.html
"""

import shutil
from pathlib import Path

import click

from steps.commands import command
from steps.messages import clear_messages
from steps.typed import FiniteRange

SOURCES = ("can", "comma2k19", "kitti", "nuscenes", "openpilot")
"""The keys of `recordings.SOURCES`: to import them takes longer than --help may."""


@command
@click.option("--source", required=True, type=click.Choice(SOURCES), help="What the recordings are.")
@click.option("--path", required=True, type=click.Path(path_type=Path), help="A folder with recordings.")
@click.option(
    "--out", default="ingested", show_default=True, type=click.Path(path_type=Path), help="The new dataset folder."
)
@click.option(
    "--every_s",
    default=10.0,
    type=FiniteRange(min=0.2),
    show_default=True,
    help="Seconds between samples; the competition has 10.",
)
@click.option(
    "--split",
    default=0.2,
    type=FiniteRange(0, 1, min_open=True),
    show_default=True,
    help="Share of the scenes that are test; 1 for drives to predict.",
)
@click.option(
    "--point",
    default="rear_axle",
    type=click.Choice(("rear_axle", "camera")),
    show_default=True,
    help="Whose path the waypoints are.",
)
@click.option(
    "--crop",
    default="competition",
    type=click.Choice(("competition", "whole")),
    show_default=True,
    help="The window of the competition's camera, or the whole picture.",
)
def main(source: str, path: Path, out: Path, every_s: float, split: float, point: str, crop: str) -> None:
    """Write samples with signals, frames and waypoints wherever the recordings have them without a gap.

    An interrupted call is gone on from by the same one.
    """
    from atma18.recordings import ingest
    from atma18.report import recordings as report
    from atma18.storage import unfinished

    plan = ingest.Plan(source, every_s, split, point, crop)
    with clear_messages():
        drives = ingest.find(source, path)
        with unfinished.folder_of(out, plan.to_json_dict(drives)) as folder:
            ingested = ingest.ingest(folder, plan, drives)
            report.write(folder, ingested)
            shutil.rmtree(folder / ".drives")
    for one in ingested.summary["drives"]:
        if "left_out" in one:
            click.echo(f"ingest: drive {one['drive']} is left out: {one['left_out']}", err=True)
    counts = " and ".join(f"{count} {split}" for split, count in ingested.summary["samples"].items())
    click.echo(f"ingest: {counts} samples are in {out.absolute()}; drives: {len(drives)}; look at report.html")


if __name__ == "__main__":
    main()
