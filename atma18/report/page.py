"""The description of a `main`: its headline, the best step 3 s ahead, the blend's gains and lineage, and commands."""

from collections.abc import Mapping, Sequence

from atma18 import metrics, tracking
from atma18.data.dataset import Dataset
from atma18.metrics import scores
from atma18.pipeline.step import Result
from atma18.report import gallery, leaderboard
from atma18.report.headline import interval
from atma18.report.leaderboard import Leaderboard
from atma18.run_context import RunContext
from atma18.schema import FloatArray

AHEAD = "3.0s"
"""The horizon by which steps are ranked."""
_GAIN_OVER = "gain_over_"
_STRAIGHT = "constant velocity"
_OF_BLEND = ("oof/mae_m", "oof/mae_m_testmix", *(f"{_GAIN_OVER}motion/{what}_m" for what in ("mean", "low", "high")))
"""The metrics of the blend that `main` has too."""


def keep(parent: str, context: RunContext, done: Mapping[str, Result], given: Mapping[str, str]) -> Leaderboard:
    """Log the description, the leaderboard, the page of samples and the metrics to the run of `main`.

    Args:
        parent: the run of `main`.
        context: the run context.
        done: the results of the steps, the blend last.
        given: the parameters that the user gave.
    """
    board, runs = leaderboard.of_runs(done), {name: result.upstream.run_id for name, result in done.items()}
    lineage = tracking.as_tree(tracking.trace(runs["blend"], context.cache))
    commands = {
        "the same again": tracking.command("main", {**context.parameters, **given}),
        "make this blend the champion": tracking.command("promote", {"candidate": runs["blend"]}),
        "what it was made from": tracking.command("lineage", {"model": runs["blend"]}),
    }
    links = {run_id: tracking.page_of(run_id) for run_id in runs.values()}
    oof_m = {name: result.upstream.predictions(context).oof_m for name, result in done.items()}
    blend = tracking.figures_of(runs["blend"])
    answers = [
        *(f"**These drives look wrong**: {suspicion}" for suspicion in context.suspicions),
        f"**{board.headline}**",
        ahead(context.dataset, oof_m, context.references_m["constant_velocity"]),
        gain(blend),
        f"**{tracking.version_link(runs['blend'])} = {tracking.note_of(runs['blend'], 'weights')}**. "
        f"{done['blend'].upstream.setting}. {tracking.standing(runs['blend'])}",
    ]
    text = description(answers, board, links, commands, lineage, tracking.LONGEST_TAG)
    page = gallery.page(context.dataset, oof_m, board, lineage, f"main on {context.data}")
    figures = {name: blend[name] for name in _OF_BLEND} | {"total/seconds": float(board.table["seconds"].sum())}
    tracking.finish_parent(parent, board.table, runs, text, page, figures)
    return board


def description(
    answers: Sequence[str],
    board: Leaderboard,
    links: Mapping[str, str],
    commands: Mapping[str, str],
    lineage: str,
    longest: int,
) -> str:
    """Return the description of the parent run as Markdown.

    Args:
        answers: the main results, one sentence each.
        board: the leaderboard.
        links: by run ID, the link to its page.
        commands: by purpose, the command.
        lineage: the lineage of the blend, as a tree.
        longest: largest number of characters that the store accepts; parts that do not fit are left out, first the
            lineage.
    """
    table = board.markdown
    for run_id, link in links.items():
        table = table.replace(run_id, f"[{run_id[:8]}]({link})")
    command_list = "\n".join(f"- {what}: `{command}`" for what, command in commands.items())
    sections = [
        "\n".join(f"- {answer}" for answer in answers),
        f"### Leaderboard\n\n{table}",
        f"### Commands\n\n{command_list}",
        f"### What the blend was made from, when this run ended\n\n```\n{lineage}\n```",
    ]
    while len("\n\n".join(sections)) > longest:
        sections.pop()
    return "\n\n".join(sections)


def ahead(dataset: Dataset, oof_m: Mapping[str, FloatArray], straight_m: FloatArray) -> str:
    """Return sentences on the best step 3 s ahead, the significance of its lead, and the other steps.

    Args:
        dataset: the dataset.
        oof_m: by step, (N, 18) out-of-fold predictions in metres, in the order of the training samples.
        straight_m: (N, 18) metres, constant-velocity predictions.
    """
    train = dataset.train
    [horizon] = [part for part in scores.training_parts(train, dataset.test) if part.name == AHEAD]
    errors_m = {
        name: metrics.absolute_errors_m(p, dataset.targets_m)[:, horizon.targets].mean()
        for name, p in {**oof_m, _STRAIGHT: straight_m}.items()
    }
    best, *others = sorted(oof_m, key=lambda name: errors_m[name])
    second_m = {others[0]: oof_m[others[0]]}
    board = scores.compare(oof_m[best], second_m, dataset.targets_m, [horizon], train.scenes, ours=best)
    second = board.to_dict("records")[1]
    lead = interval(second["gain_low_m"], second["gain_high_m"])
    known = "beyond chance" if second["gain_low_m"] > 0 else "which may be chance"
    then = ", ".join(f"{name} {errors_m[name]:.3f} m" for name in others)
    return (
        f"**3 s ahead {best} is best: {errors_m[best]:.3f} m**, ahead of {others[0]} by {second['gain_m']:.4f} m "
        f"({lead}), {known}. Then {then}; {_STRAIGHT} {errors_m[_STRAIGHT]:.3f} m."
    )


def gain(blend: Mapping[str, float]) -> str:
    """Return a sentence on a blend's significant gains over its inputs and the motion model, over all horizons."""
    others = sorted(
        name.removeprefix(_GAIN_OVER).removesuffix("/mean_m")
        for name in blend
        if name.startswith(_GAIN_OVER) and name.endswith("/mean_m")
    )
    if not others:
        return "**The blend has a single input.**"
    mean_m, low_m, high_m = (
        {name: blend[f"{_GAIN_OVER}{name}/{what}_m"] for name in others} for what in ("mean", "low", "high")
    )
    groups = {
        "beats {} beyond chance": [name for name in others if low_m[name] > 0],
        "may be no better than {}": [name for name in others if low_m[name] <= 0 <= high_m[name]],
        "is worse than {}": [name for name in others if high_m[name] < 0],
    }
    verdicts = [verdict.format(" and ".join(names)) for verdict, names in groups.items() if names]
    figures = [f"{mean_m[name]:+.4f} m over {name} ({interval(low_m[name], high_m[name])})" for name in others]
    return f"**The blend {', '.join(verdicts)}**: {', '.join(figures)}, over all horizons."
