"""What `main` says on its run: what the blend gained, who is best 3 s ahead, from what, and how to do it again."""

from collections.abc import Mapping

from atma18 import gallery, leaderboard, tracking
from atma18.experiment import Experiment
from atma18.leaderboard import Leaderboard
from atma18.pipeline import Result

AHEAD = "oof_horizon/3.0s_m"
_GAIN_OVER = "gain_over_"


def keep(parent: str, experiment: Experiment, done: Mapping[str, Result], given: Mapping[str, str]) -> Leaderboard:
    """Keep the description, the leaderboard and the page of samples with the run of `main`.

    Args:
        parent: the run of `main`.
        experiment: data, folds and the rest.
        done: what the steps left, the blend last.
        given: what was varied, as a person types it.
    """
    board, runs = leaderboard.of_runs(done), {name: result.upstream.run_id for name, result in done.items()}
    lineage = tracking.as_tree(tracking.trace(runs["blend"], experiment.cache))
    commands = {
        "the same again": tracking.command("main", {**experiment.parameters, **given}),
        "make this blend the champion": tracking.command("promote", {"candidate": runs["blend"]}),
        "what it was made from": tracking.command("lineage", {"model": runs["blend"]}),
    }
    figures = {name: tracking.figures_of(run_id) for name, run_id in runs.items()}
    links = {run_id: tracking.page_of(run_id) for run_id in runs.values()}
    version = tracking.version_link(runs["blend"])
    said = description(board, figures, links, version, commands, lineage, tracking.LONGEST_TAG)
    oof_m = {name: result.upstream.predictions(experiment).oof_m for name, result in done.items()}
    page = gallery.page(experiment.dataset, oof_m, [board.text, lineage], f"main on {experiment.data}")
    tracking.finish_parent(parent, board.table, runs, said, page)
    return board


def description(
    board: Leaderboard,
    figures: Mapping[str, Mapping[str, float]],
    links: Mapping[str, str],
    version: str,
    commands: Mapping[str, str],
    lineage: str,
    longest: int,
) -> str:
    """Write the description of the parent run, as Markdown.

    Args:
        board: the leaderboard.
        figures: per step the metrics of its run, the blend's last.
        links: per run ID the place of its page.
        version: a link to the page of the registered blend.
        commands: what does something, and how a person types it.
        lineage: what the blend was made from, as a tree.
        longest: characters that the store takes; what would not fit is left out whole, the lineage first.
    """
    table = board.markdown
    for run_id, link in links.items():
        table = table.replace(run_id, f"[{run_id[:8]}]({link})")
    said = "\n".join(f"- {what}: `{command}`" for what, command in commands.items())
    sections = [
        f"{_gain(figures['blend'])} {version} has its weights and what it was made from.\n\n{_ahead(figures)}",
        f"### Leaderboard\n\n{table}",
        f"### Commands\n\n{said}",
        f"### What the blend was made from\n\n```\n{lineage}\n```",
    ]
    while len("\n\n".join(sections)) > longest:
        sections.pop()
    return "\n\n".join(sections)


def _gain(blend: Mapping[str, float]) -> str:
    """Say whether the blend is better than each input beyond chance, the best one first."""
    gains = {
        name.removeprefix(_GAIN_OVER).removesuffix("/mean_m"): gain
        for name, gain in blend.items()
        if name.startswith(_GAIN_OVER) and name.endswith("/mean_m")
    }
    if not gains:
        return "The blend has a single input."
    best, *others = sorted(gains, key=lambda name: gains[name])
    first = f"**The blend is {_better(gains[best])} than {best}, its best input**, by OOF MAE, {_chance(blend, best)}."
    also = [f"{_better(gains[name])} than {name}, {_chance(blend, name)}" for name in others]
    return " ".join([first, *([f"It is {'; '.join(also)}."] if also else [])])


def _better(gain_m: float) -> str:
    return f"{abs(gain_m):.4f} m {'better' if gain_m > 0 else 'worse'}"


def _chance(blend: Mapping[str, float], name: str) -> str:
    low_m, high_m = (blend[f"{_GAIN_OVER}{name}/{side}_m"] for side in ("low", "high"))
    chance = "that may be chance" if low_m <= 0 <= high_m else "beyond chance"
    return f"{chance} (95 % over scenes: {low_m:+.4f} to {high_m:+.4f} m)"


def _ahead(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Say who is best 3 s ahead."""
    found = sorted((of_step[AHEAD], step) for step, of_step in figures.items() if AHEAD in of_step)
    ranked = ", ".join(f"{step} {mae_m:.3f} m" for mae_m, step in found)
    return f"MAE 3.0 s ahead, best first: {ranked}."
