"""Blend runs into one prediction.

Reads   predictions/ of the input runs
Writes  predictions/ (OOF cross-fitted), weights.json, submission.csv; a version of atma18-blend
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from atma18.config import BlendConfig
from steps import options, typed
from steps.commands import command


@command
@options.shared
@options.left_to_preset("inputs", click.STRING, "Runs, models:/ URIs or step names, separated by commas.")
@options.of(BlendConfig)
@options.out
def main(setting: options.Setting, inputs: str | None, out: Path, **given: Any) -> None:  # noqa: ANN401
    """Blend the inputs with convex weights per scene-size group and write the submission."""
    from atma18.pipeline.blend import blend, deliver

    with options.running("blend"):
        context = setting.open()
        config = replace(context.preset.blend, **typed.given(**given))
        named = context.preset.inputs if inputs is None else inputs.split(",")
        deliver(blend(context, config, named).run(), out)


if __name__ == "__main__":
    main()
