#!/usr/bin/env bash
# python-can 4.6.1: a CSV log forgets on which bus a frame was, so two buses become one.
#
# A logger that listens to several buses notes the bus of each frame as its channel. The candump, BLF, ASC, TRC and MF4
# writers keep it (TRC counts from 1). The CSV writer has no column for it, and the reader gives None: frames of one
# number that mean two things on two buses cannot be told apart any more, and nothing says so.
#
# Seen:
#   log ['can0', 'can1', 'can0', 'can1']
#   blf [0, 1, 0, 1]
#   trc [1, 2, 1, 2]
#   csv [None, None, None, None]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet python-can==4.6.1
cat > find.py <<'PY'
import can


def buses(form):
    with can.Logger(f"drive.{form}") as log:
        for k in range(4):
            frame = can.Message(timestamp=1.7e9 + k, arbitration_id=256, is_extended_id=False, data=b"1", channel=k % 2)
            log.on_message_received(frame)
    with can.LogReader(f"drive.{form}") as log:
        return [message.channel for message in log]


found = {form: buses(form) for form in ("log", "blf", "trc", "csv")}
for form, channels in found.items():
    print(form, channels)
assert found["log"] == ["can0", "can1"] * 2
assert found["blf"] == [0, 1] * 2
assert found["trc"] == [1, 2] * 2
assert found["csv"] == [None] * 4
PY
env/bin/python find.py
