"""openpilot routes: logs of 2023 to 2026 and the small or the full video of the road camera."""

from atma18.recordings.openpilot.reading import read
from atma18.recordings.openpilot.route import Route, find

__all__ = ["Route", "find", "read"]
