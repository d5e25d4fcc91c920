"""Predict where a car will be in the next three seconds from three frames and its CAN signals."""

import os

# Scenes make batches of many sizes, and oneDNN compiles each layer for each size: with room for 1,024 of them it
# compiles the same ones again and again. It reads this once, when it is first used.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
# On some processors MKL's products differ in the last bit by where in memory a matrix begins, and so by what a sample
# is asked together with. STRICT forbids that, and costs nothing measurable; read once, too.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# Downloads of weights are nobody's business but of who offers them.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
