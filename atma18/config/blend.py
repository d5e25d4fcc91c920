"""The configuration of blend."""

from dataclasses import KW_ONLY
from typing import Literal

from pydantic import Field

from atma18.config.checking import checked
from atma18.config.fields import Fixed
from atma18.config.groups import Groups, check_groups


@checked
class BlendConfig:
    """Convex weights for each group of scene sizes."""

    _: KW_ONLY
    groups: Groups = ((1, 2), (3, None))
    """Scene sizes that share weights, such as 1-2,3+."""
    method: Literal["exact", "nelder-mead", "equal"] = "exact"
    """How weights are fitted: to the least MAE, with a proof (exact), by the published search (nelder-mead), or not at
    all (equal)."""
    max_iterations: Fixed[int] = Field(default=1000, ge=1)
    """Most iterations of Nelder–Mead."""

    def __post_init__(self) -> None:
        check_groups(self.groups)
