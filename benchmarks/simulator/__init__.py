"""Comparison of the simulated drives with the published statistics of the competition's data."""
