"""Reports for users: `page` describes a `main`, `leaderboard` compares its steps, `gallery` shows samples."""

from atma18.report.page import ahead, description, gain, keep

__all__ = ["ahead", "description", "gain", "keep"]
