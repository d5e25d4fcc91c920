"""embed: embeddings of frames by a frozen backbone, as tables and with a ridge probe."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from atma18 import backbones, embedding, plots
from atma18.backbones import precision
from atma18.bundle.servable import predict_all
from atma18.compute.progress import progress
from atma18.config import EMBEDDING, EmbedConfig
from atma18.embedding import EmbeddingFeatures, EmbeddingTables, EmbedModel
from atma18.gbdt.inputs import StoredInputs
from atma18.pipeline.step import Step, tell_backbone, tell_parameters
from atma18.run_context import RunContext
from atma18.schema import FRAME_SHAPE
from atma18.tracking import Identity, StepRun

_log = logging.getLogger(__name__)


def embed(context: RunContext, config: EmbedConfig) -> Step:
    """Embed all frames with a frozen backbone; keep SVDs, similarities and a ridge probe."""
    machine, dataset = context.machine, context.dataset
    chosen = precision.of_embed(config, machine)
    config = replace(config, seed=context.seed, autocast=chosen.bfloat16)
    found = backbones.find(config.backbone)
    weights = embedding.weights_sha256(config)

    def work(run: StepRun) -> None:
        tell_backbone(run, found)
        _log.info(f"embed: {chosen}")
        run.note(precision=str(chosen))
        backbone = backbones.build(config.backbone, seed=config.seed, pixels=config.pixels).to(machine.device).freeze()
        tell_parameters(run, backbone, backbone, frozen=True, copies=1)
        samples = {"train": dataset.train, "test": dataset.test}
        with run.phase("embed", sum(map(len, samples.values()))):
            cells = {
                split: embedding.cached_cells(
                    part, dataset.sha256, backbone, config, machine.device, machine.threads, context.cache
                )
                for split, part in samples.items()
            }
        folds = context.folds.of(dataset.train.ids)
        with run.phase("fit", len(dataset.train)):
            fitted = [
                embedding.fit(cells["train"], dataset.train, dataset.targets_m, np.flatnonzero(folds != k), config)
                for k in progress(range(context.folds.count), desc="fit SVD and probe", unit="fold")
            ]
        model = EmbedModel(config, backbone, tuple(fitted))
        features = {split: tuple(fold.features(cells[split]) for fold in fitted) for split in samples}
        inputs = tuple(StoredInputs({}, {EMBEDDING: features[split]}) for split in ("train", "test"))
        _tables(context, features).write(run.folder / "features")
        shares = embedding.explained_variance(cells["train"], fitted[0].components)
        run.keep_figure("explained_variance", plots.explained_variance(shares, backbone.cells(*FRAME_SHAPE[1:3])[1]))
        similarity = features["train"][0].similarity.reshape(len(dataset.train), -1, 2).mean(axis=1)
        speed_mps = dataset.train.signals["vEgo"].to_numpy(np.float64)
        run.keep_figure("similarity_by_speed", plots.similarity_by_speed(similarity, speed_mps))
        run.keep_predictions(
            predict_all(model, dataset.train, folds, dataset.test, (inputs[0], inputs[1]), machine.device)
        )
        run.keep_servable(model, {})

    return Step(Identity.of("embed", context, config, {}, weights), context, config, {}, work)


def _tables(context: RunContext, features: Mapping[str, tuple[EmbeddingFeatures, ...]]) -> EmbeddingTables:
    """Concatenate training and test samples."""
    both = list(zip(features["train"], features["test"], strict=True))
    return EmbeddingTables(
        ids=np.concatenate([context.dataset.train.ids, context.dataset.test.ids]),
        svd=np.stack([np.concatenate([train.svd, test.svd]) for train, test in both]),
        similarity=np.concatenate([both[0][0].similarity, both[0][1].similarity]),
    )
