"""Chance that can be repeated."""

import os
import random


def drawn():
    """Return a source of random numbers and print its seed, which ATMA18_SEED gives again."""
    seed = int(os.environ.get("ATMA18_SEED") or random.randrange(10**6))
    print(f"ATMA18_SEED={seed}")
    return random.Random(seed)
