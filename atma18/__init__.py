"""Predict where a car will be in the next three seconds from three frames and its CAN signals."""

import os

# Scenes make batches of many sizes, and oneDNN compiles each layer for each size: with room for 1,024 of them it
# compiles the same ones again and again. It reads this once, when it is first used.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
