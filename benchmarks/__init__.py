"""Benchmarks, each runnable as a command: figures beside a named reference."""
