"""Judge a blend, and make it the champion if the verdict accepts it; or restore the previous champion.

Reads   the candidate, its lineage, its dataset, the champion
Writes  the aliases champion and previous of atma18-blend; the record, on its own run
"""

import click

from atma18.cache import Cache
from steps import options, typed
from steps.commands import command
from steps.messages import clear_messages

_TAKEN_UP = "The service (serve) takes it up in some seconds, MLflow's own server when it starts again"


@command
@click.option(
    "--candidate",
    default="models:/atma18-blend@candidate",
    show_default=True,
    help="A version of atma18-blend, or the ID of its run.",
)
@click.option(
    "--min_gain_m",
    default=0.0,
    show_default=True,
    type=typed.FiniteRange(min=0),
    help="By how many metres its test-mix MAE must be lower than the champion's.",
)
@typed.flag("force", False, "Pass over what is a matter of judgement: the gains, folds, uncommitted code.")
@typed.flag("rollback", False, "Put back the version that was champion before.")
@click.option("--data", help="Folder of the drives that it predicted, if they lie elsewhere now.")
@click.option("--note", help="Words of your own for the record.")
@typed.flag("history", False, "Only list every promotion, refusal and rollback.")
def main(
    candidate: str, min_gain_m: float, force: bool, rollback: bool, data: str | None, note: str | None, history: bool
) -> None:
    """Compute a verdict on a blend and move the alias champion by it."""
    from atma18 import tracking
    from atma18.pipeline.promote import promote, roll_back

    if history:
        with clear_messages(), tracking.reading():
            found = tracking.history()
            click.echo("\n".join(found) or "nothing was ever promoted")
        return
    with options.running("promote") as run:
        cache = Cache.open()
        if rollback:
            back = roll_back(run, note=note, cache=cache)
            click.echo(f"version {back.number} is champion again (run {back.upstream.run_id})")
            return
        verdict = promote(run, candidate, data, min_gain_m, force=force, note=note, cache=cache)
        click.echo(verdict.text)
        if not verdict.accepted:
            raise ValueError(f"not promoted: {verdict.why}")
        number = tracking.blend_version(candidate).version
    click.echo(f"version {number} ({candidate}) is champion now. {_TAKEN_UP}")


if __name__ == "__main__":
    main()
