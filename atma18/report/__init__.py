"""Reports for users.

`page` describes a `main`, `headline` says whether its blend beats the motion model, `leaderboard` compares its steps,
`gallery` shows samples, and `recordings` what was ingested.
"""

from atma18.report.page import ahead, description, gain, keep

__all__ = ["ahead", "description", "gain", "keep"]
