#!/usr/bin/env bash
# python-can 4.6.1 with NumPy 2.4.6: a CSV log of messages whose time stamps are NumPy numbers cannot be read again.
#
# Times that were computed (an offset added, a clock converted) are NumPy numbers. The writer puts their `repr` into the
# file, which since NumPy 2 is `np.float64(1.5)`; no error. The reader refuses the file. candump and BLF are written right.
#
# Seen:
#   np.float64(1.5),0x1,1,0,0,1,MQ==
#   ValueError: could not convert string to float: 'np.float64(1.5)'
#   candump: [1.5]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet python-can==4.6.1 numpy==2.4.6
cat > find.py <<'PY'
import can
import numpy as np

for name in ("drive.csv", "drive.log"):
    with can.Logger(name) as log:
        log.on_message_received(can.Message(timestamp=np.float64(1.5), arbitration_id=1, data=b"1"))
row = open("drive.csv").read().splitlines()[1]
print(row)
try:
    list(can.LogReader("drive.csv"))
    said = "nothing"
except ValueError as error:
    said = f"ValueError: {error}"
print(said)
times_s = [message.timestamp for message in can.LogReader("drive.log")]
print("candump:", times_s)
assert row.startswith("np.float64(1.5),")
assert said == "ValueError: could not convert string to float: 'np.float64(1.5)'"
assert times_s == [1.5]
PY
env/bin/python find.py
