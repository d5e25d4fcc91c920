"""Measurements, each runnable by hand: figures beside a named reference."""
