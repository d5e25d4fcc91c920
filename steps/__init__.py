"""The entry points of the project: one click command per module, run as `python -m steps.NAME`."""

import atexit
import gc
import os

# libgomp reads this when torch loads it. By default its idle threads spin, and beside another busy process a training
# on two cores then takes many times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# OpenBLAS reads this when NumPy and SciPy load it. Its threads make matrices as small as a fold's slower, not faster.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# An import makes hundreds of thousands of objects, none of them garbage, and Python would look after every 700.
gc.set_threshold(20_000, 20, 20)

# Otherwise the last thing that Python does is to look for garbage among the objects of torch and MLflow, for a second.
atexit.register(gc.freeze)
