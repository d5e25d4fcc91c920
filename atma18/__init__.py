"""Predict where a car will be in the next three seconds from three frames and its CAN signals."""

import os

# libgomp, which torch brings, lets idle threads spin for a long while, and reads this when it is loaded. With a second
# process on the machine they take the cores from one another; benchmarks/sharing.py measures how much.
if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
    os.environ["GOMP_SPINCOUNT"] = "1000"
