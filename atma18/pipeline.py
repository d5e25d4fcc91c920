"""The five steps as functions, and their chain: what each entry point runs alone and `main` runs in one process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from tqdm import tqdm

from atma18 import backbones, blending, embedding, metrics, plots, servable, stacking, tracking, training
from atma18.embedding import EmbeddingFeatures, EmbeddingTables, EmbedModel
from atma18.experiment import Experiment
from atma18.inputs import StoredInputs
from atma18.netmodel import NetModel
from atma18.presets import BlendConfig, EmbedConfig, GbdtConfig, NetConfig, Preset
from atma18.schema import TARGETS, FloatArray, first_few, rows_of
from atma18.servable import predict_all
from atma18.tracking import Identity, StepRun, Upstream
from atma18.training import Epoch

NO_INPUTS = (StoredInputs({}, {}), StoredInputs({}, {}))
STACKED = ("nn1", "nn2")
SAMPLE_SUBMISSION = "atmaCup18__sample_submit.csv"


@dataclass(frozen=True)
class Result:
    """A step that is done."""

    run_id: str
    reused: bool


@dataclass(frozen=True)
class Step:
    """A step that is ready to run: its configuration is resolved and its upstreams are verified."""

    identity: Identity
    experiment: Experiment
    config: EmbedConfig | NetConfig | GbdtConfig | BlendConfig
    upstreams: Mapping[str, Upstream]
    work: Callable[[StepRun], None]

    def run(self, *, reuse: bool = False) -> Result:
        """Do the work in a run of its own, or take a whole run that did the very same."""
        found = tracking.reusable(self.identity, self.experiment.cache) if reuse else None
        if found is not None:
            print(f"{self.identity.step}: reused run {found.run_id}")
            return Result(found.run_id, reused=True)
        with tracking.step_run(self.identity, self.experiment, self.config, self.upstreams) as run:
            self.work(run)
        print(f"{self.identity.step}: run {run.run_id} finished")
        return Result(run.run_id, reused=False)


def embed(experiment: Experiment, config: EmbedConfig) -> Step:
    """Embed all frames with a frozen backbone; keep SVDs, similarities and a ridge probe."""
    machine, dataset = experiment.machine, experiment.dataset
    config = replace(config, seed=experiment.seed, autocast=machine.bfloat16)
    weights = embedding.weights_sha256(config)

    def work(run: StepRun) -> None:
        backbone = backbones.build(config.backbone, seed=config.seed).to(machine.device).freeze()
        samples = {"train": dataset.train, "test": dataset.test}
        with run.phase("embed", sum(map(len, samples.values()))):
            cells = {
                split: embedding.cached_cells(
                    part, dataset.sha256, backbone, config, machine.device, machine.threads, experiment.cache
                )
                for split, part in samples.items()
            }
        folds = experiment.folds.of(dataset.train.ids)
        with run.phase("fit", len(dataset.train)):
            fitted = [
                embedding.fit_fold(
                    cells["train"], dataset.targets_m, np.flatnonzero(folds != k), dataset.train.scenes, config
                )
                for k in tqdm(range(experiment.folds.count), desc="fit SVD and probe", unit="fold", disable=None)
            ]
        model = EmbedModel(config, backbone, tuple(fitted))
        features = {split: tuple(fold.features(cells[split]) for fold in fitted) for split in samples}
        inputs = tuple(StoredInputs({}, {stacking.EMBEDDING: features[split]}) for split in ("train", "test"))
        _tables(experiment, features).write(run.folder / "features")
        run.keep_predictions(
            predict_all(model, dataset.train, folds, dataset.test, (inputs[0], inputs[1]), machine.device)
        )
        run.keep_servable(model, {})

    return Step(Identity.of("embed", experiment, config, {}, weights), experiment, config, {}, work)


def _tables(experiment: Experiment, features: Mapping[str, tuple[EmbeddingFeatures, ...]]) -> EmbeddingTables:
    """Put training and test samples below one another."""
    both = list(zip(features["train"], features["test"], strict=True))
    return EmbeddingTables(
        ids=np.concatenate([experiment.dataset.train.ids, experiment.dataset.test.ids]),
        svd=np.stack([np.concatenate([train.svd, test.svd]) for train, test in both]),
        similarity=np.concatenate([both[0][0].similarity, both[0][1].similarity]),
    )


def net(step: str, experiment: Experiment, config: NetConfig, init: str | None = None) -> Step:
    """Train nn1 or nn2.

    Args:
        step: `nn1` or `nn2`.
        experiment: data, folds and the rest.
        config: of the nets.
        init: for `stage=second`, the run of a first stage.

    Raises:
        ValueError: If `init` and the stage do not go together.
    """
    machine, dataset = experiment.machine, experiment.dataset
    config = replace(config, seed=experiment.seed, autocast=machine.bfloat16)
    if (config.stage == "second") != (init is not None):
        raise ValueError(
            f"expected init with stage=second and only then, found stage={config.stage} and init={init or 'none'}; "
            f"this makes one: {tracking.command(step, experiment.parameters | {'stage': 'first'})}"
        )
    upstreams = {} if init is None else {"init": tracking.resolve(init, experiment)}
    start = _first_stage(upstreams["init"], step, config, machine.device) if init else None
    weights = backbones.weights_sha256(config.backbone, config.seed)

    def work(run: StepRun) -> None:
        folds = experiment.folds.of(dataset.train.ids)
        note = training.early_stopping(config, dataset.train, folds)
        print(f"{step}: early stopping is {note}")
        run.note(early_stopping=note)
        epochs: list[Epoch] = []

        def on_epoch(epoch: Epoch) -> None:
            epochs.append(epoch)
            figures = {"train_mae_m": epoch.train_mae_m, "held_out_mae_m": epoch.held_out_mae_m}
            run.measure(
                {f"fold{epoch.fold}/{name}": v for name, v in figures.items() if v is not None}, index=epoch.index
            )

        trained = len(dataset.train) * (experiment.folds.count - 1)
        with run.phase("train", trained * sum(stage.num_epochs for stage, _ in training.stages(config))):
            model = training.train(
                step, config, dataset.train, dataset.targets_m, folds, machine, start=start, on_epoch=on_epoch
            )
        with run.phase("predict", len(dataset.train) + len(dataset.test) * experiment.folds.count):
            predictions = predict_all(model, dataset.train, folds, dataset.test, NO_INPUTS, machine.device)
        run.keep_predictions(predictions)
        run.keep_figure("learning_curves", plots.learning_curves(*_curves(epochs)))
        run.keep_servable(model, {})

    identity = Identity.of(step, experiment, config, _run_ids(upstreams), weights)
    return Step(identity, experiment, config, upstreams, work)


def _first_stage(upstream: Upstream, step: str, config: NetConfig, device: str) -> NetModel:
    """Load the nets that a second stage goes on from."""
    loaded = servable.load(upstream.bundle, device)
    model = loaded.members[loaded.root].model
    if not isinstance(model, NetModel) or (model.step, model.config.stage) != (step, "first"):
        raise ValueError(
            f"expected init to be a run of {step} with stage=first, found {upstream.step}, {upstream.stage}"
        )
    for name in ("backbone", "num_layers", "hidden", "causal", "target"):
        found, expected = getattr(model.config, name), getattr(config, name)
        if found != expected:
            raise ValueError(f"expected init with {name}={expected}, found {name}={found} in run {upstream.run_id}")
    return model


def _curves(epochs: Sequence[Epoch]) -> tuple[list[FloatArray], list[FloatArray | None]]:
    """Sort epochs into one training and one held-out curve per fold."""
    folds = [[e for e in epochs if e.fold == k] for k in sorted({e.fold for e in epochs})]
    train = [np.array([e.train_mae_m for e in fold]) for fold in folds]
    held_out = [[e.held_out_mae_m for e in fold if e.held_out_mae_m is not None] for fold in folds]
    return train, [
        np.array(curve) if len(curve) == len(fold) else None for curve, fold in zip(held_out, folds, strict=True)
    ]


def gbdt(experiment: Experiment, config: GbdtConfig, inputs: Mapping[str, str]) -> Step:
    """Boost trees on CAN signals, scene features, the embedding and the nets' OOF predictions.

    Args:
        experiment: data, folds and the rest.
        config: of the boosters.
        inputs: a run for each of embed, nn1 and nn2, named in any way.
    """
    machine, dataset = experiment.machine, experiment.dataset
    config = replace(config, seed=experiment.seed)
    upstreams = {name: tracking.resolve(given, experiment) for name, given in inputs.items()}
    late = [name for name in STACKED if config.causal and not upstreams[name].causal]
    if late:
        print(f"gbdt: {', '.join(late)} left out, for causal=true reads nothing that looks at later samples")
    upstreams = {name: upstream for name, upstream in upstreams.items() if name not in late}
    stack = [name for name in STACKED if name in upstreams]

    def work(run: StepRun) -> None:
        folds = experiment.folds.of(dataset.train.ids)
        predictions = {name: upstreams[name].predictions(experiment) for name in stack}
        tables = EmbeddingTables.read(upstreams[stacking.EMBEDDING].artifacts / "features")
        train = StoredInputs.of_train(predictions, {stacking.EMBEDDING: tables.of(dataset.train.ids)})
        test = StoredInputs.of_test(predictions, {stacking.EMBEDDING: tables.of(dataset.test.ids)})
        boosters = experiment.folds.count * len(TARGETS)
        with (
            run.phase("train", len(dataset.train) * (experiment.folds.count - 1)),
            tqdm(total=boosters, desc="train gbdt", unit="booster", disable=None) as bar,
        ):
            model = stacking.fit(
                config,
                dataset.train,
                dataset.targets_m,
                folds,
                train,
                stack,
                tables.cells,
                machine.threads,
                on_target=lambda _: bar.update(),
            )
        with run.phase("predict", len(dataset.train) + len(dataset.test) * experiment.folds.count):
            predicted = predict_all(model, dataset.train, folds, dataset.test, (train, test), machine.device)
        run.keep_predictions(predicted)
        gain = model.feature_importance()
        run.keep_table("feature_importance", gain.rename_axis("feature").reset_index(name="gain"))
        by_group = gain.groupby([name.split("/")[0] for name in gain.index]).sum()
        run.measure({f"importance/{group}": share for group, share in by_group.items()})
        run.keep_servable(model, upstreams)

    return Step(Identity.of("gbdt", experiment, config, _run_ids(upstreams)), experiment, config, upstreams, work)


def blend(experiment: Experiment, config: BlendConfig, inputs: Sequence[str], out: Path) -> Step:
    """Blend runs with convex weights per scene-size group, score them by cross-fitting, write the submission.

    Args:
        experiment: data, folds and the rest.
        config: groups and optimiser.
        inputs: runs, named in any way.
        out: where `submission.csv` is written, besides the run's own.

    Raises:
        ValueError: If there is no input, or the same run twice.
    """
    dataset = experiment.dataset
    upstreams = _named_apart([tracking.resolve(given, experiment) for given in inputs])

    def work(run: StepRun) -> None:
        folds = experiment.folds.of(dataset.train.ids)
        predictions = {name: upstream.predictions(experiment) for name, upstream in upstreams.items()}
        stack_m = np.stack([p.oof_m for p in predictions.values()])
        sizes, names = dataset.train.scene_sizes, tuple(predictions)
        with run.phase("fit", len(dataset.train)):
            model = blending.fit(stack_m, dataset.targets_m, sizes, config, names)
            cross_fitted_m = blending.cross_fit(stack_m, dataset.targets_m, sizes, folds, config, names)
        inputs = (StoredInputs.of_train(predictions, {}), StoredInputs.of_test(predictions, {}))
        in_sample = predict_all(model, dataset.train, folds, dataset.test, inputs, experiment.machine.device)
        cross_fitted = replace(in_sample, oof_m=cross_fitted_m)
        run.keep_predictions(cross_fitted)
        run.measure({"in_sample/mae_m": metrics.mae_m(in_sample.oof_m, dataset.targets_m)})
        _compare_with_best_input(
            run, experiment, cross_fitted_m, predictions={n: p.oof_m for n, p in predictions.items()}
        )
        labels = [f"{first}+" if last is None else f"{first}–{last}" for first, last in config.groups]
        run.keep_figure("blend_weights", plots.blend_weights(model.weights, names, labels))
        run.keep_json("weights", model.to_json())
        submission = submission_table(experiment, cross_fitted.test_m)
        submission.to_csv(run.folder / "submission.csv", index=False)
        run.keep_servable(model, upstreams)
        out.parent.mkdir(parents=True, exist_ok=True)
        submission.to_csv(out, index=False)
        print(f"blend: {out.absolute()} holds {len(submission)} rows")

    return Step(Identity.of("blend", experiment, config, _run_ids(upstreams)), experiment, config, upstreams, work)


def _named_apart(upstreams: Sequence[Upstream]) -> dict[str, Upstream]:
    """Name each run after its step, a second one of a step `<step>-2`; refuse the same run twice."""
    if not upstreams or len({u.run_id for u in upstreams}) < len(upstreams):
        raise ValueError(f"expected at least one run and each once, found {[u.run_id for u in upstreams]}")
    named: dict[str, Upstream] = {}
    for upstream in upstreams:
        same = sum(other.step == upstream.step for other in named.values())
        named[f"{upstream.step}-{same + 1}" if same else upstream.step] = upstream
    return named


def _compare_with_best_input(
    run: StepRun, experiment: Experiment, blended_m: FloatArray, predictions: Mapping[str, FloatArray]
) -> None:
    """Measure the paired gain over the best input, with its scene-bootstrap interval."""
    truth_m, scenes = experiment.dataset.targets_m, experiment.dataset.train.scenes
    best = min(predictions, key=lambda name: metrics.mae_m(predictions[name], truth_m))
    gain = metrics.paired_gain(blended_m, predictions[best], truth_m, scenes, seed=0)
    run.note(best_input=best)
    run.measure({"gain/mean_m": gain.mean_m, "gain/low_m": gain.low_m, "gain/high_m": gain.high_m})


def submission_table(experiment: Experiment, test_m: FloatArray) -> pd.DataFrame:
    """Return the (M, 18) predictions in the order of `test_features.csv`, without IDs.

    Raises:
        ValueError: If the folder's sample submission has other columns or another number of rows.
    """
    dataset = experiment.dataset
    rows = rows_of(dataset.submission_ids, dataset.test.ids, "submission")
    table = pd.DataFrame(test_m[rows], columns=list(TARGETS))
    sample = dataset.folder / SAMPLE_SUBMISSION
    if sample.is_file():
        expected = pd.read_csv(sample)
        if list(expected.columns) != list(table.columns) or len(expected) != len(table):
            raise ValueError(
                f"{sample}: expected {len(table)} rows of {first_few(table.columns)}, "
                f"found {len(expected)} rows of {first_few(expected.columns)}"
            )
    return table


def _run_ids(upstreams: Mapping[str, Upstream]) -> dict[str, str]:
    return {name: upstream.run_id for name, upstream in upstreams.items()}


@dataclass(frozen=True)
class Configs:
    """The configuration of every step of one `main`."""

    embed: EmbedConfig
    nn1: NetConfig
    nn2: NetConfig
    gbdt: GbdtConfig
    blend: BlendConfig

    @classmethod
    def of(cls, preset: Preset, given: Mapping[str, Any]) -> Self:
        """Put given values over a preset's.

        Args:
            preset: the base.
            given: `backbone` and `causal` for every step that has them, else `<step>_<field>`.
        """
        backbone = {"backbone": given["backbone"]} if "backbone" in given else {}
        causal = {"causal": given["causal"]} if "causal" in given else {}

        def of_step(step: str) -> dict[str, Any]:
            return {name.removeprefix(f"{step}_"): v for name, v in given.items() if name.startswith(f"{step}_")}

        # A scene's size is known at its end only, so a causal blend has one group.
        groups = ((1, None),) if given.get("causal") else preset.blend.groups
        return cls(
            embed=replace(preset.embed, **backbone),
            nn1=preset.nn1.with_given(backbone | of_step("nn1")),
            nn2=preset.nn2.with_given(backbone | causal | of_step("nn2")),
            gbdt=replace(preset.gbdt, **causal, **of_step("gbdt")),
            blend=replace(preset.blend, groups=groups),
        )


def run_all(experiment: Experiment, configs: Configs, out: Path, *, reuse: bool) -> dict[str, Result]:
    """Run the five steps in order, each on the runs before it; with `reuse`, only those without a run of the same."""
    done: dict[str, Result] = {}
    done["embed"] = embed(experiment, configs.embed).run(reuse=reuse)
    done["nn1"] = net("nn1", experiment, configs.nn1).run(reuse=reuse)
    done["nn2"] = net("nn2", experiment, configs.nn2).run(reuse=reuse)
    inputs = {name: done[name].run_id for name in (stacking.EMBEDDING, *STACKED)}
    done["gbdt"] = gbdt(experiment, configs.gbdt, inputs).run(reuse=reuse)
    blended = [done[name].run_id for name in (*STACKED, "gbdt")]
    done["blend"] = blend(experiment, configs.blend, blended, out).run(reuse=reuse)
    return done
