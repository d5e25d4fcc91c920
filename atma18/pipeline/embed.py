"""embed: embeddings of frames by a frozen backbone, as tables and with a ridge probe."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from atma18 import backbones, embedding, plots
from atma18.backbones import precision
from atma18.backbones.engine import Engine
from atma18.bundle.servable import predict_all
from atma18.compute.progress import progress
from atma18.compute.side_by_side import Lane, side_by_side
from atma18.config import EMBEDDING, EmbedConfig
from atma18.embedding import EmbeddingFeatures, EmbeddingTables, EmbedModel
from atma18.embedding.cells import Float16Array
from atma18.gbdt.inputs import StoredInputs
from atma18.pipeline.path_view import keep_path_grids, tell_camera
from atma18.pipeline.step import Step, tell_backbone, tell_parameters
from atma18.run_context import RunContext
from atma18.schema import FRAME_SHAPE, FloatArray, IntArray
from atma18.tracking import Identity, StepRun

_log = logging.getLogger(__name__)


def embed(context: RunContext, config: EmbedConfig) -> Step:
    """Embed all frames, or the road along the paths, with a frozen backbone; keep SVDs, similarities and a probe."""
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
        engine = Engine.of(backbone, config.image_shape[1:], autocast=config.autocast)
        run.note(engine=engine.name)
        tell_parameters(run, backbone, backbone, frozen=True, copies=1)
        tell_camera(run, context, config)
        folds = context.folds.of(dataset.train.ids)
        outside = [np.flatnonzero(folds != k) for k in range(context.folds.count)]
        with run.phase("embed", len(dataset.train) + len(dataset.test)):
            cells = _cells(context, engine, config, outside)
        with run.phase("fit", len(dataset.train)):
            fitted = [
                embedding.fit(of_fold["train"], dataset.train, dataset.targets_m, rows, config)
                for of_fold, rows in progress(list(zip(cells, outside, strict=True)), desc="fit probe", unit="fold")
            ]
        model = EmbedModel(config, backbone, tuple(fitted), camera=dataset.camera, made=engine)
        features = {
            split: tuple(fold.features(of_fold[split]) for fold, of_fold in zip(fitted, cells, strict=True))
            for split in ("train", "test")
        }
        inputs = tuple(StoredInputs({}, {EMBEDDING: features[split]}) for split in ("train", "test"))
        _tables(context, features, embedding.cell_count(backbone)).write(run.folder / "features")
        _draw(run, context, model, features["train"][0], cells[0]["train"])
        run.keep_predictions(
            predict_all(model, dataset.train, folds, dataset.test, (inputs[0], inputs[1]), machine.device)
        )
        run.keep_servable(model, {})

    return Step(Identity.of("embed", context, config, {}, weights), context, config, {}, work)


def _cells(
    context: RunContext, engine: Engine, config: EmbedConfig, outside: Sequence[IntArray]
) -> list[dict[str, Float16Array]]:
    """Return for each fold the embeddings of both splits; with view frame they are the same in every fold."""
    dataset, machine = context.dataset, context.machine

    def of_motion(motion: FloatArray, threads: int) -> dict[str, Float16Array]:
        where = (machine.device, threads, context.cache)
        return {
            split: embedding.cached_cells(part, dataset.sha256, engine, config, *where, motion, dataset.camera)
            for split, part in (("train", dataset.train), ("test", dataset.test))
        }

    def of_fold(rows: IntArray, lane: Lane) -> dict[str, Float16Array]:
        lane.check()
        baseline = embedding.fit_baseline(dataset.train, dataset.targets_m, rows, config)
        return of_motion(baseline.motion, lane.threads)

    if config.view == "frame":
        return [of_motion(np.empty(0), machine.threads)] * len(outside)
    if machine.device == "cpu":
        return side_by_side(of_fold, outside, machine.threads)
    return [of_fold(rows, Lane(machine.threads)) for rows in outside]


def _draw(
    run: StepRun, context: RunContext, model: EmbedModel, features: EmbeddingFeatures, cells: Float16Array
) -> None:
    """Draw what the first fold's components explain of the training samples, and what the embedding sees."""
    dataset, fold = context.dataset, model.folds[0]
    columns = model.backbone.cells(*FRAME_SHAPE[1:3])[1]
    shares = embedding.explained_variance(cells, fold.components)
    run.keep_figure("explained_variance", plots.explained_variance(shares, columns))
    if model.config.view == "path":
        keep_path_grids(run, context, model.config, fold.motion)
        return
    similarity = features.similarity.reshape(len(dataset.train), -1, 2).mean(axis=1)
    speed_mps = dataset.train.signals["vEgo"].to_numpy(np.float64)
    run.keep_figure("similarity_by_speed", plots.similarity_by_speed(similarity, speed_mps))


def _tables(context: RunContext, features: Mapping[str, tuple[EmbeddingFeatures, ...]], cells: int) -> EmbeddingTables:
    """Concatenate training and test samples."""
    both = list(zip(features["train"], features["test"], strict=True))
    return EmbeddingTables(
        ids=np.concatenate([context.dataset.train.ids, context.dataset.test.ids]),
        svd=np.stack([np.concatenate([train.svd, test.svd]) for train, test in both]),
        similarity=np.concatenate([both[0][0].similarity, both[0][1].similarity]),
        cells=cells,
    )
