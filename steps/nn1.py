"""Train nn1: three frames and the CAN signals of one sample to its waypoints.

Reads   the dataset; for stage=second the nets of a run of stage=first
Writes  predictions/; a version of atma18-nn1
"""

from typing import Any

from atma18.config import NetConfig
from steps import options, typed
from steps.commands import command


@command
@options.shared
@options.init
@options.of(NetConfig, without=("sequence_head",))
def main(setting: options.Setting, init: str | None, **given: Any) -> None:  # noqa: ANN401
    """Train nn1: three frames and the CAN signals of one sample to its waypoints."""
    from atma18 import pipeline

    with options.running("nn1"):
        varied = typed.given(**given)
        context = setting.open(varied)
        config = context.preset.nn1.with_given(varied)
        pipeline.net("nn1", context, config, init=init).run()


if __name__ == "__main__":
    main()
