"""How long `ingest` takes beside the drive itself: a route of many segments, made by repeating a recorded one.

The reference is real time: the length of the drive. Each copy of the route is as much later as the route is long, in
its log, its index of frames and its video; frames and all other fields are those of the recording.

    python -m benchmarks.ingest --route ROUTES --segments 60
"""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import av
import click

from atma18.recordings.openpilot import find
from atma18.recordings.openpilot.log import schema, unpacked
from atma18.recordings.openpilot.route import Segment
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import results

_SEGMENT_S = 60
_INDEX = (14, 88)
"""The numbers of the two indices of frames inside the union of `Event`."""


def repeat(route: Path, segments: int, folder: Path) -> None:
    """Write a route of this many segments: those of a recorded one, again and again, each time later."""
    recorded = find(route)[0].segments
    for number in range(segments):
        of_route, of_segment = divmod(number, len(recorded))
        place = folder / f"route--{number}"
        place.mkdir(parents=True)
        copy_later(recorded[of_segment], place, of_route * len(recorded) * _SEGMENT_S)


def copy_later(segment: Segment, place: Path, later_s: int) -> None:
    """Copy a segment, with all its times later."""
    with (place / "qlog").open("wb") as file:
        for event in schema().Event.read_multiple_bytes(unpacked(segment.log, Counter())):
            copy = event.as_builder()
            copy.logMonoTime += later_s * 10**9
            if copy.kind in _INDEX:
                copy.body.as_struct(schema().EncodeIndex).timestampEof += later_s * 10**9
            copy.write(file)
    if segment.video is not None:
        with av.open(str(segment.video)) as there, av.open(str(place / "qcamera.ts"), "w", format="mpegts") as here:
            stream = there.streams.video[0]
            target = here.add_stream_from_template(stream)
            for packet in there.demux(stream):
                if packet.dts is not None and packet.pts is not None:
                    packet.pts, packet.dts = packet.pts + later_s * 90_000, packet.dts + later_s * 90_000
                    packet.stream = target
                    here.mux(packet)


def ingested(folder: Path, every_s: float) -> dict[str, Any]:
    """Run `ingest` in a process of its own; return its seconds and the most memory that it held."""
    words = ["--source", "openpilot", "--path", str(folder / "in"), "--out", str(folder / "out")]
    measured = [sys.executable, "-c", _MEASURED, *words, "--every_s", str(every_s)]
    start = time.perf_counter()
    done = subprocess.run(measured, cwd=PROJECT_FOLDER, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    click.echo(done.stdout.strip())
    return {"seconds": seconds, "peak_memory_gb": float(done.stdout.split()[-2])}


_MEASURED = """
from benchmarks.results import peak_gb
from steps.ingest import main
main(standalone_mode=False)
print("peak memory", peak_gb(), "GB")
"""


@click.command()
@click.option("--route", required=True, type=click.Path(exists=True, path_type=Path), help="A recorded route.")
@click.option("--segments", default=60, show_default=True, help="Segments of the repeated route.")
@click.option("--every_s", default=1.0, show_default=True, help="Seconds between samples.")
@click.option("--quick", is_flag=True, help="3 segments.")
@results.json_option
def main(route: Path, segments: int, every_s: float, quick: bool, file: Path | None) -> None:
    """Print the seconds of `ingest` over those of the drive, and the most memory that it held."""
    count = 3 if quick else segments
    with tempfile.TemporaryDirectory() as scratch:
        repeat(route, count, Path(scratch) / "in")
        found = ingested(Path(scratch), every_s)
    found |= {"segments": count, "every_s": every_s, "ratio": found["seconds"] / (count * _SEGMENT_S)}
    click.echo(f"{count} segments: {found['seconds']:.0f} s, {found['ratio']:.3f} of real time")
    results.keep(file, found)


if __name__ == "__main__":
    main()
