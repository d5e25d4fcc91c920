#!/usr/bin/env bash
# python-can 4.6.1: a BLF log whose times count from a device's start is read back with times that count from 0.
#
# CAN interfaces, and other recorders of a car, often count from their own start and not from 1970. Written as candump,
# CSV or TRC such times come back as they were. BLF keeps the moment of the first message as a date, for which python-can
# writes zeros if it lies before 1980 or so; the reader takes that for 0. All messages are earlier than they were by the
# same time, without a warning, and no longer fit a video with the same clock.
#
# Seen:
#   log [100.0, 101.0, 102.0]
#   csv [100.0, 101.0, 102.0]
#   blf [0.0, 1.0, 2.0]
#   blf, from 1,700,000,000 on [1700000000.0, 1700000001.0, 1700000002.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet python-can==4.6.1
cat > find.py <<'PY'
import can


def there_and_back(form, start_s):
    with can.Logger(f"drive.{form}") as log:
        for k in range(3):
            log.on_message_received(can.Message(timestamp=start_s + k, arbitration_id=1, data=b"1"))
    with can.LogReader(f"drive.{form}") as log:
        return [message.timestamp for message in log]


found = {form: there_and_back(form, 100.0) for form in ("log", "csv", "blf")}
late = there_and_back("blf", 1.7e9)
for form, times_s in found.items():
    print(form, times_s)
print("blf, from 1,700,000,000 on", late)
assert found["log"] == found["csv"] == [100.0, 101.0, 102.0]
assert found["blf"] == [0.0, 1.0, 2.0]
assert late == [1.7e9, 1.7e9 + 1, 1.7e9 + 2]
PY
env/bin/python find.py
