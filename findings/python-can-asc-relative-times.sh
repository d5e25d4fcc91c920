#!/usr/bin/env bash
# python-can 4.6.1: an ASC log with "timestamps relative" is read as if its times were absolute.
#
# Vector's tools save an ASC log with one of two kinds of times, and its head says which: absolute ones count from the
# start of the measurement, relative ones from the line before. The reader keeps the word from the head in its attribute
# `timestamps_format` and gives the numbers as they stand. So ten frames, one every 0.1 s, all come 0.1 s after the start,
# without a warning: a drive of an hour lasts a tenth of a second.
#
# Seen:
#   absolute [0.1, 0.2, 0.3, 0.4]
#   relative [0.1, 0.1, 0.1, 0.1], timestamps_format relative
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet python-can==4.6.1
cat > find.py <<'PY'
import can

LOG = """\
date Fri Oct 10 10:00:00.000 am 2025
base hex  timestamps {kind}
internal events logged
Begin Triggerblock Fri Oct 10 10:00:00.000 am 2025
   0.000000 Start of measurement
{frames}End TriggerBlock
"""


def read(kind, times):
    frames = "".join(f"   {time:.6f} 1  100             Rx   d 1 01\n" for time in times)
    with open("drive.asc", "w") as file:
        file.write(LOG.format(kind=kind, frames=frames))
    with can.LogReader("drive.asc") as log:
        return [round(message.timestamp, 6) for message in log], log.timestamps_format


absolute, _ = read("absolute", [0.1, 0.2, 0.3, 0.4])
relative, said = read("relative", [0.1, 0.1, 0.1, 0.1])
print("absolute", absolute)
print(f"relative {relative}, timestamps_format {said}")
assert absolute == [0.1, 0.2, 0.3, 0.4]
assert relative == [0.1, 0.1, 0.1, 0.1] and said == "relative"
PY
env/bin/python find.py
