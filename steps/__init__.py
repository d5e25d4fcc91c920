"""The entry points of the project: one click command per module, run as `python -m steps.NAME`."""

import os

# libgomp reads this when torch loads it. By default its idle threads spin, and beside another busy process a training
# on two cores then takes many times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
