"""Train nn1: three frames and the CAN signals of one sample to its waypoints.

Reads   the dataset; for stage=second the nets of a run of stage=first
Writes  predictions/; a version of atma18-nn1
"""

from typing import Any

from atma18.config import NetConfig
from steps import nets, options
from steps.commands import command


@command
@options.shared
@options.init
@options.of(NetConfig, without=("sequence_head",))
def main(setting: options.Setting, init: str | None, **given: Any) -> None:  # noqa: ANN401
    """Train nn1: three frames and the CAN signals of one sample to its waypoints."""
    nets.train("nn1", setting, init, given)


if __name__ == "__main__":
    main()
