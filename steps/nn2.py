"""Train nn2: the same encoder, then an LSTM over the samples of one scene.

Reads   the dataset; for stage=second the nets of a run of stage=first, for stage=head those of nn1
Writes  predictions/; a version of atma18-nn2
"""

from typing import Any

from atma18.config import NetConfig
from steps import nets, options
from steps.commands import command


@command
@options.shared
@options.init
@options.of(NetConfig)
def main(setting: options.Setting, init: str | None, **given: Any) -> None:  # noqa: ANN401
    """Train nn2: the same encoder, then an LSTM over the samples of one scene."""
    nets.train("nn2", setting, init, given)


if __name__ == "__main__":
    main()
