"""The entry points of the project: one click command per module, run as `python -m steps.NAME`."""
