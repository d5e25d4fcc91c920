"""The code that the entry points nn1 and nn2 share."""

from collections.abc import Mapping
from typing import Any

from steps import options, typed


def train(step: str, setting: options.Setting, init: str | None, given: Mapping[str, Any]) -> None:
    """Train a net with its preset and the given options."""
    from atma18.pipeline.nets import net

    with options.running(step):
        varied = typed.given(**given)
        context = setting.open(varied)
        config = getattr(context.preset, step).with_given(varied)
        net(step, context, config, init=init).run()
