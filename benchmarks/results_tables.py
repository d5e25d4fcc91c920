"""The tables of docs/results.md, each made from the figures of a measurement."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

STEPS = ("motion", "embed", "nn1", "nn2", "gbdt", "blend")
Figures = Mapping[str, Any]

NEW_NAMES: Mapping[str, str] = {
    "embed: without waves": "embed: without random features (`random_features`)",
    "nn1: two fold splits": "nn1: two fold repeats (`fold_repeats`)",
    "nn1: distorted frames": "nn1: strong augmentation (`augment`)",
    "nn1: averaged weights": "nn1: averaged weights (`ema_decay`)",
    "nn1: frames alone, less the motion model": "nn1: frames alone (`modalities`), less the motion model",
    "nn2: attention": "nn2: attention (`sequence_head`)",
    "gbdt: without the lights' geometry": "gbdt: without the traffic lights' geometry",
    "nn1: frame differences": "removed: nn1: frame differences",
    "gbdt: with neighbours' predictions": "removed: gbdt: with neighbours' predictions",
    "blend: fitted for the test mix": "removed: blend: fitted for the test mix",
}
"""What rows are called today that were measured under an old name, or whose option is removed."""

BACKBONES: Mapping[str, str] = {
    "lite0": "`lite0`, ImageNet weights",
    "lite0@none": "`lite0@none`, the same untrained",
    "torchvision:resnet18": "`torchvision:resnet18`, untrained",
}


def tables(files: Mapping[str, Figures]) -> dict[str, str]:
    """Return each table by its name in the text."""
    return {
        "first_command": _first_command(files["first_command"]),
        "accuracy": _accuracy(files["accuracy"]),
        "inputs": _inputs(files["accuracy"]["within"]["blend_gain_over"]),
        "ablation": _ablation(files["ablation"]["switched"]),
        "few_scenes": _few_scenes(files["blending"]["few_scenes"]),
        "small_drives": _small_drives(files["small_drives"]["cases"]),
        "sharing": _sharing(files["sharing"]["seconds"]),
        "switches": _switches(files["options_of_trees"], files["options_of_nets"]),
        "backbones": _backbones(files["backbones"]),
        "blending": _blending(files["blending"]),
        "alike": _alike(files["simulator"]["lines"]),
        "speed": _speed(files),
    }


def _first_command(found: Figures) -> str:
    head = ["seed", "motion model", "`nn1`", "`nn2`", "`gbdt`", "blend", "gain", "seconds"]
    rows = []
    for seed, figures in {"0": found["demo"], **found["seeds"]}.items():
        errors_m = [_metres(figures["mae_m"][step]) for step in ("motion", "nn1", "nn2", "gbdt", "blend")]
        gain = f"{figures['gain_relative']:.1%} ({figures['low_m']:+.3f} to {figures['high_m']:+.3f} m)"
        rows.append([seed, *errors_m, gain, f"{figures['seconds']:.0f}"])
    return _table(head, rows)


def _accuracy(found: Figures) -> str:
    head = ["step", "OOF", "test", "test, earlier build", "gain on test", "seconds", "earlier build"]
    ours, before = (found[name]["steps"] for name in ("best", "before"))
    rows = []
    for step in STEPS:
        cells = [_metres(ours[step][split]) for split in ("mae_m", "test_mae_m")]
        earlier = before.get(step)
        gain = _gain(found["over"]["before"]["gain"][step]) if earlier else ""
        cells += [_metres(earlier["test_mae_m"]) if earlier else "", gain, f"{ours[step]['seconds']:.0f}"]
        rows.append([f"`{step}`", *cells, f"{earlier['seconds']:.0f}" if earlier else ""])
    return _table(head, rows)


def _gain(gain: Figures) -> str:
    interval_m = f"{gain['test_gain_low_m']:+.4f} to {gain['test_gain_high_m']:+.4f} m"
    return f"{gain['test_gain_relative']:.1%} ({interval_m})"


def _inputs(gains: Figures) -> str:
    return _table(["input", "the blend is better on test by"], [[f"`{name}`", _gain(g)] for name, g in gains.items()])


def _ablation(switched: Figures) -> str:
    """Return a row for each thing that is switched, in the order of the steps."""
    head = ["switched", "worse on test by, mm", "of each seed, mm", "worse out of fold by, mm", "it is"]
    rows = []
    for name, gain in sorted(switched.items(), key=lambda item: STEPS.index(item[0].split(":")[0])):
        seeds = ", ".join(f"{1000 * of_seed_m:+.1f}" for of_seed_m in gain["of_seeds_m"])
        rows.append([name, _in_mm(gain), seeds, f"{1000 * gain['oof_gain_m']:+.1f}", _verdict(gain)])
    return _table(head, rows)


def _few_scenes(cases: Figures) -> str:
    """Return a row for each number of scenes: shares of draws, and the worst ratio, with and without the pull."""
    head = ["scenes", "draws", "above 1.02: with the pull", "plain optimum", "worst: with the pull", "plain optimum"]
    return _table(
        head,
        [
            [
                scenes,
                str(case["draws"]),
                *(f"{case[f'{method}_worse']:.1%}" for method in ("shrunk", "exact")),
                *(f"{case[f'{method}_worst']:.3f}" for method in ("shrunk", "exact")),
            ]
            for scenes, case in cases.items()
            if scenes.isdigit()
        ],
    )


def _small_drives(cases: Figures) -> str:
    """Return a row for each number of scenes and preset: the seeds together."""
    head = ["scenes and preset", "blend, of its best input", "plain optimum", "of the reachable place", "of the slope"]
    together: dict[str, list[Figures]] = {}
    for name, case in cases.items():
        scenes, _, preset = name.split(", ")
        together.setdefault(f"{scenes}, `{preset}`", []).append(case)
    rows = []
    for name, of_seeds in together.items():
        ratios = [
            f"{min(found):.3f} to {max(found):.3f}"
            for found in ([case[f"{which}_ratio"] for case in of_seeds] for which in ("blend", "plain"))
        ]
        most = [
            f"{max(step[what] for case in of_seeds for step in case['used'].values()):.0%}"
            for what in ("place", "slope")
        ]
        rows.append([name, *ratios, *most])
    return _table(head, rows)


def _sharing(seconds: Figures) -> str:
    [reference, ours] = seconds
    rows = [
        [situation, f"{alone_s:.1f} s", f"{seconds[ours][situation]:.1f} s"]
        + [f"{times_s / seconds[reference]['alone']:.2f} x" for times_s in (alone_s, seconds[ours][situation])]
        for situation, alone_s in seconds[reference].items()
    ]
    return _table(["", reference, ours, f"{reference}, of alone", f"{ours}, of alone"], rows)


def _metres(error_m: float) -> str:
    return f"{error_m:.3f} m"


def _switches(trees: Figures, nets: Figures) -> str:
    """Return a row for each switched option, in the order of the steps."""
    head = [
        "switched",
        "step OOF m",
        "step test m",
        "step worse by, mm",
        "the step is",
        "blend worse by, mm",
        "the blend is",
    ]
    measured = {**trees["switched"], **nets["switched"]}
    in_order = sorted(measured, key=lambda name: STEPS.index(name.split(":")[0]))
    return _table(head, [_switch(name, measured[name]) for name in in_order])


def _switch(name: str, found: Figures) -> list[str]:
    step = name.split(":")[0]
    errors, gains = found["steps"][step], (found["best_is_better_by"][part] for part in (step, "blend"))
    verdicts = [cell for gain in gains for cell in (_in_mm(gain), _verdict(gain))]
    return [NEW_NAMES.get(name, name), f"{errors['mae_m']:.4f}", f"{errors['test_mae_m']:.4f}", *verdicts]


def _in_mm(gain: Figures) -> str:
    mean, low, high = (gain[f"test_gain_{which}m"] * 1000 for which in ("", "low_", "high_"))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _verdict(gain: Figures) -> str:
    """Say whether what is switched is worse than `best`, better, or neither beyond chance."""
    if gain["test_gain_low_m"] > 0:
        return "worse"
    return "better" if gain["test_gain_high_m"] < 0 else "not beyond chance"


def _backbones(found: Figures) -> str:
    head = ["backbone", "parameters", "`embed` MAE", "samples/s", "GB", "`nn1` MAE", "samples/s", "GB"]
    rows = []
    for name, steps in found["backbones"].items():
        parameters = f"{steps['embed']['backbone_parameters'] / 1e6:.1f} M"
        cells = [cell for step in ("embed", "nn1") for cell in _of_backbone(steps[step])]
        rows.append([BACKBONES.get(name, f"`{name}`"), parameters, *cells])
    return _table(head, rows)


def _of_backbone(figures: Figures) -> list[str]:
    return [
        _metres(figures["oof_mae_m"]),
        f"{figures['samples_per_s']:.0f}",
        f"{figures['peak_memory_gb']:.2f}",
    ]


def _blending(found: Figures) -> str:
    head = ["inputs", "proven gap", "Nelder–Mead is above by", "exact", "Nelder–Mead", "ratio"]
    return _table(head, [_weights(name, figures) for name, figures in found.items() if name.startswith("K")])


def _weights(name: str, figures: Figures) -> list[str]:
    gap, above = figures["relative_gap"], figures["mae_nelder_mead"] / figures["mae_exact"] - 1
    return [
        name.removeprefix("K"),
        "< 1e-7" if gap < 1e-7 else f"{gap:.0e}",
        f"{above:.3%}",
        f"{figures['seconds_exact']:.2f} s",
        f"{figures['seconds_nelder_mead']:.2f} s",
        f"{figures['speed_ratio']:.1f}",
    ]


def _alike(lines: Sequence[Figures]) -> str:
    return f"{sum(line['alike'] for line in lines)} of {len(lines)}"


def _speed(files: Mapping[str, Figures]) -> str:
    """Return what is fast, each beside a named reference."""
    rows = [
        *_feeding(files["feeding"]),
        *_first_stage(files["training"]["stage_one"]),
        *_second_stage(files["training"]),
        _boosting(files["boosting"]),
        _embedding(files["embedding"]),
        _features(files["features"]),
        *_growth(files["growth"]),
    ]
    return _table(["what", "ours", "beside", "ratio"], rows)


def _feeding(found: Figures) -> list[list[str]]:
    return [
        [
            f"feeding a net, {size.replace('x', ' x ')} px, one core",
            f"{figures['samples_per_s']:,.0f} samples/s",
            f"one PNG after the other, {figures['reference_samples_per_s']:,.0f} samples/s",
            f"{figures['ratio']:.1f} x",
        ]
        for size, figures in found.items()
        if size != "made"
    ]


def _first_stage(found: Figures) -> list[list[str]]:
    spread = f"{found['reference_lowest_mae_m']:.4f} to {found['reference_highest_mae_m']:.4f} over three seeds"
    reference = f"{found['reference_seconds']:.1f} s, MAE {found['reference_mae_m']:.4f} m ({spread})"
    return [
        [
            f"stage one of nn1, 20 epochs, cached views: {views}",
            f"{found[f'views{views}_seconds']:.1f} s, MAE {found[f'views{views}_mae_m']:.4f} m",
            f"the frozen backbone in every epoch, {reference}",
            f"{found[f'views{views}_ratio']:.1f} x",
        ]
        for views in (1, 4)
    ]


def _second_stage(found: Figures) -> list[list[str]]:
    return [
        [
            f"stage two of {net}",
            f"{found[net]['samples_per_s']:.0f} samples/s",
            f"the same net on tensors in memory, {found[net]['ceiling_samples_per_s']:.0f} samples/s",
            f"{found[net]['share_of_ceiling']:.0%} (median of {len(found[net]['shares_of_rounds'])} rounds)",
        ]
        for net in ("nn1", "nn2")
    ]


def _boosting(found: Figures) -> list[str]:
    return [
        f"gbdt, x, y, z at 3.0 s, {found['samples']:,} samples",
        f"{found['seconds']:.1f} s, OOF MAE {found['mae_m']:.4f} m",
        f"the published setting, {found['reference_seconds']:.1f} s, {found['reference_mae_m']:.4f} m",
        f"{found['ratio']:.1f} x",
    ]


def _embedding(found: Figures) -> list[str]:
    return [
        f"embedding {found['rows']:,} samples",
        f"{found['samples_per_s']:.0f} samples/s, {found['anonymous_gb']:.2f} GB",
        f"bare forward rate, {found['bare_samples_per_s']:.0f} samples/s",
        f"{found['share_of_bare']:.0%}",
    ]


def _features(found: Figures) -> list[str]:
    return [
        f"features of {found['rows']:,} rows",
        f"{found['seconds']:.2f} s",
        f"groupby-apply per scene, {found['reference_seconds']:.0f} s",
        f"{found['ratio']:.0f} x",
    ]


def _growth(found: Figures) -> list[list[str]]:
    growth = {phase: figures["growth"] for phase, figures in found.items() if "growth" in figures}
    times = ", ".join(f"{phase} {times:.2f}" for phase, times in growth.items())
    memory = f"{found['nn1']['anonymous_gb']:.2f} GB beside the page cache"
    return [
        ["from 4,000 to 45,098 samples, time per sample", f"{times} times as long", "linear growth, 1.00", ""],
        ["memory of nn1 at 45,098 samples", memory, "", ""],
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
