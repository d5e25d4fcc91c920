"""Manifest of a result: the SHA-256 of every file. It is written last, so a result is complete or absent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from atma18.schema import first_few
from atma18.storage.digests import canonical_json, file_sha256, sha256_of_records

FILE = "manifest.json"
_NOT_OURS = "registered_model_meta"  # MLflow adds this file to a model's folder when the model is loaded by name


@dataclass(frozen=True)
class Manifest:
    """The files of a finished run, with their digests."""

    model_id: str
    """MLflow's ID of the run's logged model."""
    artifacts: Mapping[str, str]
    """SHA-256 of each artifact by its path in the run."""
    model: Mapping[str, str]
    """SHA-256 of each file of the model by its path in the model's folder."""
    causal: bool | None = None
    """Whether no prediction uses a later sample of the scene; None for runs without this record."""

    @classmethod
    def of(cls, artifacts: Path, model_id: str, model: Path, causal: bool | None) -> Self:
        """Compute the digest of each file in the two folders."""
        return cls(model_id, _digests(artifacts), _digests(model), causal)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the manifest itself, which is a tag of the run and of its registered version."""
        return sha256_of_records([[canonical_json(self._as_json())]])

    def write(self, path: Path) -> None:
        """Write the manifest as JSON."""
        path.write_text(json.dumps(self._as_json(), indent=1, sort_keys=True))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest file.

        Raises:
            ValueError: If the file is missing or is not a manifest.
        """
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: expected the manifest of a finished run, found none that can be read") from error

    def check(self, artifacts: Path, model: Path) -> None:
        """Compare every file with its digest.

        Raises:
            ValueError: If a file is missing or was changed; the message names the first ones.
        """
        wrong = [
            f"{folder / name} ({'changed' if (folder / name).is_file() else 'missing'})"
            for folder, expected in ((artifacts, self.artifacts), (model, self.model))
            for name, sha256 in expected.items()
            if not (folder / name).is_file() or file_sha256(folder / name) != sha256
        ]
        if wrong:
            raise ValueError(f"expected the files that the manifest names, found {first_few(wrong)}")

    def _as_json(self) -> dict[str, object]:
        recorded = {} if self.causal is None else {"causal": self.causal}
        return {"model_id": self.model_id, "artifacts": dict(self.artifacts), "model": dict(self.model), **recorded}


def _digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (FILE, _NOT_OURS)]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
