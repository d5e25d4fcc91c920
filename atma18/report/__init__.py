"""What people read: the page of a `main`, the leaderboard, the gallery of samples."""

from atma18.report.page import ahead, description, gain, keep

__all__ = ["ahead", "description", "gain", "keep"]
