"""gbdt: boosted trees on all features of a sample, the nets' OOF predictions included."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from atma18 import plots, tracking
from atma18.bundle.servable import predict_all
from atma18.compute.progress import progress
from atma18.compute.side_by_side import at_once
from atma18.compute.stopwatch import Phase
from atma18.config import EMBEDDING, GbdtConfig
from atma18.embedding import EmbeddingTables
from atma18.gbdt import boosting, stacking
from atma18.gbdt.inputs import StoredInputs
from atma18.gbdt.stacking import GbdtModel
from atma18.pipeline.step import Step, run_ids
from atma18.run_context import RunContext
from atma18.schema import TARGETS
from atma18.tracking import Identity, StepRun

_log = logging.getLogger(__name__)

STACKED = ("nn1", "nn2")


def gbdt(context: RunContext, config: GbdtConfig, inputs: Mapping[str, str]) -> Step:
    """Boost trees on CAN signals, scene features, the embedding and the nets' OOF predictions.

    Args:
        context: the dataset, folds, seed, machine and cache.
        config: the configuration of the boosters.
        inputs: a run for each of embed, nn1 and nn2, by any kind of name.
    """
    machine, dataset = context.machine, context.dataset
    config = replace(config, seed=context.seed)
    upstreams = {name: tracking.resolve(given, context, step=name) for name, given in inputs.items()}
    late = [name for name in STACKED if config.causal and not upstreams[name].causal]
    if late:
        _log.info(f"gbdt: {', '.join(late)} left out, for causal=true reads nothing that looks at later samples")
    upstreams = {name: upstream for name, upstream in upstreams.items() if name not in late}
    stack = [name for name in STACKED if name in upstreams] + [EMBEDDING] * config.probe

    def work(run: StepRun) -> None:
        folds = context.folds.of(dataset.train.ids)
        predictions = {name: upstreams[name].predictions(context) for name in stack}
        tables = EmbeddingTables.read(upstreams[EMBEDDING].artifacts / "features")
        train = StoredInputs.of_train(predictions, {EMBEDDING: tables.of(dataset.train.ids)})
        test = StoredInputs.of_test(predictions, {EMBEDDING: tables.of(dataset.test.ids)})
        boosters = context.folds.count * config.bags * len(TARGETS)
        with (
            run.phase("train", len(dataset.train) * (context.folds.count - 1)) as phase,
            progress(total=boosters, desc="train gbdt", unit="booster") as bar,
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
                on_booster=lambda _: bar.update(),
            )
        _log.info(f"gbdt: {_memory(config, len(dataset.train), model, phase, machine.threads)}")
        gain, model = model.feature_importance(), model.joined()
        with run.phase("predict", len(dataset.train) + len(dataset.test) * context.folds.count):
            predicted = predict_all(model, dataset.train, folds, dataset.test, (train, test), machine.device)
        run.keep_predictions(predicted)
        run.keep_table("feature_importance", gain.rename_axis("feature").reset_index(name="gain"))
        run.keep_figure("feature_importance", plots.feature_importance(gain))
        by_group = gain.groupby([name.split("/")[0] for name in gain.index]).sum()
        run.measure({f"importance/{group}": share for group, share in by_group.items()})
        run.keep_servable(model, upstreams)

    return Step(Identity.of("gbdt", context, config, run_ids(upstreams)), context, config, upstreams, work)


def _memory(config: GbdtConfig, samples: int, model: GbdtModel, phase: Phase, threads: int) -> str:
    """Return a sentence on the memory of the training and the maximum that the boosters may take of it."""
    features, folds = len(model.folds[0][0].feature_names), at_once(threads, model.count)
    most_gb = folds * boosting.most_bytes(config, samples, features) / 1e9
    return (
        f"{features} features of {samples} samples took {phase.figures['train/peak_memory_gb']:.1f} GB in all, "
        f"of which {config.engine} may take {most_gb:.1f} GB for {folds} folds at once"
    )
