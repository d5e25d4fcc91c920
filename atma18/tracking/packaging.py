"""Log a bundle as a model that MLflow stores, loads and serves."""

import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType

from atma18.bundle import BUNDLE_SHA256, FILE, OBJECTS, bundled_models, servable
from atma18.bundle.servable import Sensors
from atma18.config import HF, RSUD20K, TORCHVISION
from atma18.schema import OUTSIDE, TARGETS
from atma18.serving import request_rows
from atma18.storage.digests import PROJECT_FOLDER, file_sha256

_IMPORTED = (
    *("mlflow", "fastapi", "starlette", "torch", "scipy", "numpy", "pandas"),
    *("pydantic", "pillow", "safetensors", "filelock", "threadpoolctl", "tqdm"),
)
"""The packages that our code imports between a request and its answer; `constraints.txt` pins what they bring."""
_BUILT_WITH = {TORCHVISION: "torchvision", RSUD20K: "torchvision", HF: "transformers"}
"""The package that draws a kind of backbone; the other kinds are ours."""
_READ_WITH = {".ubj": ("xgboost",), ".cbm": ("catboost",), ".onnx": ("onnx", "onnxruntime")}
"""The packages that read a kind of file."""
_SERVED = (
    *("__init__.py", "quoting.py", "schema.py", "config", "storage", "cache", "compute", "geometry", "metrics"),
    *("features", "backbones", "blending", "embedding", "data", "motion", "nets", "gbdt", "bundle"),
    *(f"serving/{name}.py" for name in ("__init__", "guard", "pyfunc_model", "request_rows")),
)
"""The code between a request and its answer, which a version carries; a server takes and gives each file on its own."""
_PIN = re.compile(r"^\s*- ([A-Za-z0-9._-]+)==([A-Za-z0-9.+-]+)\s*$", re.MULTILINE)


def log_model(bundle: Path, rehearsal: Path, sensors: Sensors, run_id: str) -> str:
    """Log a bundle as a model of a run and return the model's ID. The model contains no pickle.

    Args:
        bundle: the folder of the servable.
        rehearsal: the file of its rehearsal, which a result of an earlier atma18 does not have.
        sensors: those that it needs.
        run_id: the run.
    """
    artifacts = {"bundle": bundle} | ({"rehearsal": rehearsal} if rehearsal.is_file() else {})
    with _served_code() as code, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*An input example was not provided")  # the signature is complete
        info = Model.log(  # mlflow.pyfunc.log_model calls this, but takes no run ID
            artifact_path=None,
            name="model",
            flavor=mlflow.pyfunc,
            run_id=run_id,
            python_model=str(PROJECT_FOLDER / "atma18" / "serving" / "pyfunc_model.py"),
            artifacts={name: str(path) for name, path in artifacts.items()},
            code_paths=[str(code)],
            signature=_signature(sensors),
            model_config={BUNDLE_SHA256: file_sha256(bundle / FILE)},
            pip_requirements=[
                *requirements(bundled_models.backbone_kinds(bundle), bundled_models.suffixes(bundle)),
                f"-c {PROJECT_FOLDER / 'constraints.txt'}",
            ],
        )
    return str(info.model_id)


@contextmanager
def _served_code() -> Iterator[Path]:
    """Copy the package as a version carries it to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        package, copy = PROJECT_FOLDER / "atma18", Path(folder) / "atma18"
        copy.mkdir()
        for name in _SERVED:
            if (package / name).is_dir():
                shutil.copytree(package / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (copy / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(package / name, copy / name)
        yield copy


def link_to_upstreams(model: Path, upstream_bundles: Sequence[Path]) -> tuple[float, float]:
    """Replace files of a stored model by hard links to the same files of its upstreams, in a local store.

    Returns:
        The size of the model and the size of its linked files, in MB.
    """
    stored = linked = 0
    known = {path.name: path for bundle in upstream_bundles for path in (bundle / OBJECTS).iterdir()}
    for path in sorted((model / "artifacts" / "bundle" / OBJECTS).iterdir()):
        stored += path.stat().st_size
        if path.name in known:
            servable.link_or_copy(known[path.name], path)
            linked += path.stat().st_size
    return stored / 1e6, linked / 1e6


def _signature(sensors: Sensors) -> ModelSignature:
    """Return the signature of a request, one row per sample: ID, CAN signals, three frames, traffic lights as JSON.

    Its columns have no types, because MLflow casts a typed column before the model sees it: the text "no" becomes
    true, and int64 where double is declared is refused. `request_rows` checks every value, however it arrives.
    """
    of_any_type = AnyType()  # type: ignore[no-untyped-call]
    columns: list[ColSpec | TensorSpec] = [ColSpec(of_any_type, name) for name in request_rows.columns(sensors)]
    answer: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "ID"),
        *(ColSpec(DataType.double, name) for name in TARGETS),
        ColSpec(DataType.string, OUTSIDE),
    ]
    return ModelSignature(Schema(columns), Schema(answer))


def requirements(backbone_kinds: Set[str], suffixes: Set[str] = frozenset()) -> list[str]:
    """Return the exact pins of `conda.yaml` that a servable needs, and no others.

    Args:
        backbone_kinds: the kinds of its backbones.
        suffixes: those of its files.
    """
    pins = dict(_PIN.findall((PROJECT_FOLDER / "conda.yaml").read_text()))
    built = {_BUILT_WITH[kind] for kind in backbone_kinds if kind in _BUILT_WITH}
    read = {package for suffix in suffixes for package in _READ_WITH.get(suffix, ())}
    wanted = [*_IMPORTED, *sorted(built | read)]
    return [f"{package}=={pins[package]}" for package in wanted]
