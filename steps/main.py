"""Run all six steps as nested runs of one parent, reusing identical finished runs.

Reads   the dataset
Writes  the six runs and versions, submission.csv; a leaderboard and report.html on its own run
"""

from pathlib import Path
from typing import Any

import click

from atma18.config import BlendConfig, EmbedConfig, GbdtConfig, NetConfig
from steps import options, typed
from steps.commands import command


@command
@options.shared
@options.backbone
@options.causal
@options.reuse
@options.out
@options.of(EmbedConfig, "embed_")
@options.of(NetConfig, "nn1_", without=("stage", "causal", "sequence_head"))
@options.of(NetConfig, "nn2_", without=("stage", "causal"))
@options.of(GbdtConfig, "gbdt_", without=("causal",))
@options.of(BlendConfig, "blend_")
def main(setting: options.Setting, reuse: bool, out: Path, **given: Any) -> None:  # noqa: ANN401
    """Run motion, embed, nn1, nn2, gbdt and blend, and write a submission."""
    from atma18 import report, tracking
    from atma18.pipeline.all_steps import Configs, run_all
    from atma18.pipeline.blend import deliver

    with options.running("main") as parent:
        varied = typed.given(**given)
        context = setting.open(varied)
        configs = Configs.of(context.preset, varied)
        tracking.describe_parent(parent, context, typed.as_typed(varied))
        done = run_all(context, configs, reuse=reuse)
        deliver(done["blend"], out)
        board = report.keep(parent, context, done, typed.as_typed(varied))
    looks = "".join(f"\n\nThese drives look wrong: {suspicion}" for suspicion in context.suspicions)
    click.echo(f"\n{board.text}{looks}\n\nOpen the UI with:\n  {tracking.ui_command()}")


if __name__ == "__main__":
    main()
