"""The fitted models of nn1 and nn2: a net and its scaling per fold, run the same way for OOF, test and serving."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from atma18.backbones import BackboneSpec, graph
from atma18.backbones.engine import Engine
from atma18.compute import inference
from atma18.compute.once import kept
from atma18.config import NetConfig
from atma18.geometry import mirror
from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.geometry.images import images_of
from atma18.nets.architecture import NETS, FrameNet, Net, SceneLayout, features_of, scene_lengths
from atma18.nets.scaling import Scaling
from atma18.schema import TARGETS, Float32Array, FloatArray, FrameCamera, FrameRows, IntArray, Samples, StrArray
from atma18.storage import tensors
from atma18.storage.digests import canonical_json


@dataclass(frozen=True)
class FoldNet:
    """The net of one fold with its scaling."""

    net: Net
    scaling: Scaling
    camera: FrameCamera = COMPETITION_CAMERA
    """The camera of the training frames."""
    engine: Engine | None = None
    """What computes the backbone's maps when training is over; None for torch, while weights change."""

    def ready(self, config: NetConfig, given: bytes | None = None) -> Self:
        """Return the fold with an engine for its weights, which must not change any more."""
        backbone = self.net.encoder.backbone
        return replace(self, engine=Engine.of(backbone, config.image_shape[1:], autocast=config.autocast, given=given))

    def images(self, samples: Samples, config: NetConfig) -> FrameRows:
        """Return the images of samples that the net reads; the samples must not be mirrored."""
        return images_of(config, samples, self.scaling.motion, self.camera)

    def predict(self, samples: Samples, config: NetConfig, device: str) -> FloatArray:
        """Predict (N, 18) waypoints in metres, vehicle frame at t; with `mirror`, average with the mirrored samples."""
        seen = self._seen(samples, config, device)
        if not config.mirror:
            return self.predict_from(seen[0], samples, config, device)
        both = tuple(zip(seen, (samples, mirror.samples(samples)), strict=True))
        found_m, other_m = self._predict_parts(both, config, device)
        return (found_m + mirror.waypoints(other_m)) / 2

    def _seen(self, samples: Samples, config: NetConfig, device: str) -> tuple[Float32Array, ...]:
        """Return the (N, channels) features of the samples' images, and with `mirror` of the mirrored images.

        Equal backbones, such as those of nn1 and of the nn2 that has its encoder, see the same images once.
        """

        def compute() -> tuple[Float32Array, ...]:
            images = self.images(samples, config)
            sides = (images, images.flipped()) if config.mirror else (images,)
            return tuple(self.encode_frames(side, config, device) for side in sides)

        if self.engine is None or not self.engine.sha256:
            return compute()
        camera = samples.frames.camera or self.camera
        laid = (self.scaling.motion.tobytes(), canonical_json(camera.to_json_dict())) if config.view == "path" else ()
        read = (config.view, config.image_shape, config.mirror, config.inference_batch, device)
        return kept(samples, (self.engine.sha256, *read, *laid), compute)

    def encode_frames(self, images: FrameRows, config: NetConfig, device: str) -> Float32Array:
        """Return the backbone's features of N images, (N, channels)."""
        encoder, engine = self.net.eval().encoder, self.engine
        padded = engine is None or engine.batch_is_fixed

        def encode_frames(frames: Tensor) -> Tensor:
            stacked = inference.stacked_images(frames, config.image_shape[1:])
            return encoder.encode_frames(stacked) if engine is None else features_of(engine(stacked))

        seen = np.empty((len(images), encoder.backbone.channels), np.float32)
        given = (encode_frames, (images,), config.inference_batch, device, "predict")
        for rows, result in inference.run_in_batches(*given, padded=padded):
            seen[rows] = result
        return seen

    def predict_from(self, seen: Float32Array, samples: Samples, config: NetConfig, device: str) -> FloatArray:
        """Predict (N, 18) waypoints in metres from the backbone's features."""
        [found_m] = self._predict_parts(((seen, samples),), config, device)
        return found_m

    def _predict_parts(
        self, parts: Sequence[tuple[Float32Array, Samples]], config: NetConfig, device: str
    ) -> list[FloatArray]:
        """Predict (N, 18) waypoints in metres for each part: the backbone's features, and the samples."""
        net, batch = self.net.eval(), config.inference_batch
        seen = np.concatenate([features for features, _ in parts])
        inputs = (seen, np.concatenate([self.scaling.inputs(samples) for _, samples in parts]))
        encoded = np.empty((len(seen), net.encoder.width), np.float32)
        for rows, result in inference.run_in_batches(net.encoder.fuse, inputs, batch, device, "predict"):
            encoded[rows] = result
        lengths = np.concatenate([unit_lengths(net, samples.scenes) for _, samples in parts])
        outputs = np.empty((len(seen), len(TARGETS)), np.float32)
        for indices, result in _decode(net, encoded, lengths, batch, device):
            outputs[indices] = result
        of_parts = np.split(outputs, np.cumsum([len(samples) for _, samples in parts])[:-1])
        return [self.scaling.metres(samples, part) for (_, samples), part in zip(parts, of_parts, strict=True)]


def unit_lengths(net: Net, scenes: StrArray) -> IntArray:
    """Return the number of samples in each unit that a net processes as a whole: a sample (nn1) or a scene (nn2)."""
    return np.ones(len(scenes), np.int64) if isinstance(net, FrameNet) else scene_lengths(scenes)


def _decode(
    net: Net, encoded: Float32Array, lengths: IntArray, batch: int, device: str
) -> Iterator[tuple[IntArray, Float32Array]]:
    """Decode units in batches of `batch` units, padded to the next power of two of steps.

    So the shape of a batch depends on the length of the unit alone.
    """
    first = np.cumsum(lengths) - lengths
    steps = 2 ** np.ceil(np.log2(lengths)).astype(np.int64)
    for width in np.unique(steps).tolist():
        units = np.flatnonzero(steps == width)
        for start in range(0, len(units), batch):
            chosen = units[start : start + batch]
            rows = np.concatenate([np.arange(first[u], first[u] + lengths[u]) for u in chosen])
            padded = np.zeros((batch * width, encoded.shape[1]), np.float32)
            padded[: len(rows)] = encoded[rows]
            layout = SceneLayout.of(lengths[chosen], width, batch).to(device)
            with torch.inference_mode():
                predicted = net.decode(torch.from_numpy(padded).to(device), layout)
            yield rows, predicted[: len(rows)].float().cpu().numpy()


@dataclass(frozen=True)
class NetModel:
    """The nets of all folds of nn1 or nn2."""

    step: str
    config: NetConfig
    folds: tuple[FoldNet, ...]
    """One net per fold, ordered by split, then by fold."""
    needs: tuple[str, ...] = ()
    """The upstreams that it reads: none, only frames and signals."""

    @property
    def causal(self) -> bool:
        """Whether no prediction depends on a later sample of the scene."""
        return (self.step == "nn1" and not self.config.reads_context) or self.config.causal

    @property
    def spec(self) -> BackboneSpec:
        """The description of the backbone, which all nets share."""
        return self.folds[0].net.encoder.backbone.spec

    @property
    def count(self) -> int:
        """The number of folds per split."""
        return len(self.folds) // self.config.fold_repeats

    def of_split(self, split: int) -> "NetModel":
        """Return a model of one split's nets."""
        nets = self.folds[split * self.count : (split + 1) * self.count]
        return NetModel(self.step, replace(self.config, fold_repeats=1), nets)

    def predict(self, fold: int, samples: Samples, inputs: object, device: str) -> FloatArray:
        """Predict (N, 18) waypoints in metres: the mean over the nets of this fold in every split.

        This is only valid for samples that no net was trained on: the nets of other splits were trained on scenes of
        this fold.
        """
        predicted_m = [net.predict(samples, self.config, device) for net in self.folds[fold :: self.count]]
        return np.asarray(np.mean(predicted_m, axis=0))

    def describe(self) -> dict[str, Any]:
        """Return the configuration, the description of the backbone, and with view path the camera."""
        described = {"config": asdict(self.config), "backbone": asdict(self.spec)}
        return described | ({"camera": self.folds[0].camera.to_json_dict()} if self.config.view == "path" else {})

    def save(self, folder: Path) -> None:
        """Write each fold's weights and scaling as safetensors, and the graph of their backbones."""
        for k, fold in enumerate(self.folds):
            net = {f"net.{name}": value.cpu().contiguous() for name, value in fold.net.state_dict().items()}
            arrays = {name: torch.from_numpy(value) for name, value in _scaling_arrays(fold.scaling).items()}
            save_file(net | arrays, folder / f"fold{k}.safetensors")
        engine = self.folds[0].engine
        graph.save(engine.graph if engine else None, folder)

    @classmethod
    def load(
        cls,
        step: str,
        config: NetConfig,
        spec: BackboneSpec,
        signals: tuple[str, ...],
        files: Mapping[str, Path],
        device: str,
        camera: FrameCamera = COMPETITION_CAMERA,
    ) -> Self:
        """Read the nets that `save` wrote; `spec` describes their backbone."""
        drawn, count = graph.load(files), sum(name.startswith("fold") for name in files)
        folds = tuple(
            _load_fold(step, config, spec, signals, files[f"fold{k}.safetensors"], device, camera).ready(config, drawn)
            for k in range(count)
        )
        return cls(step, config, folds)


def _scaling_arrays(scaling: Scaling) -> dict[str, FloatArray]:
    return {name: value for name, value in vars(scaling).items() if isinstance(value, np.ndarray)}


def _load_fold(
    step: str,
    config: NetConfig,
    spec: BackboneSpec,
    signals: tuple[str, ...],
    file: Path,
    device: str,
    camera: FrameCamera,
) -> FoldNet:
    found = tensors.read(file)
    arrays = {name: value.numpy() for name, value in found.items() if not name.startswith("net.")}
    scaling = Scaling(
        signals, config.modalities, config.context, config.causal, config.target, config.by_speed, **arrays
    )
    state = {name[4:]: value for name, value in found.items() if name.startswith("net.")}
    with torch.random.fork_rng(devices=[]):  # the random weights drawn here are replaced below
        with torch.device("meta"):  # shapes are checked before memory is allocated
            tensors.check_fit(state, NETS[step](config, scaling.width, spec=spec).state_dict())
        net = NETS[step](config, scaling.width, spec=spec)
    net.load_state_dict(state)
    return FoldNet(net.to(device), scaling, camera)
