"""Staged result: a step's result as one local folder, until it is uploaded at once or by a later command."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import mlflow

from atma18.bundle import Bundle
from atma18.bundle.servable import Sensors
from atma18.cache import OUTBOX, Cache
from atma18.serving import rehearsal
from atma18.tracking import lifecycle, packaging, registry, store
from atma18.tracking.manifest import FILE, Manifest
from atma18.tracking.outbox import Outbox
from atma18.tracking.upstream import MANIFEST_TAG, Upstream, open_run

_log = logging.getLogger(__name__)

_ADDRESS = "parcel.json"
_SHOWN = "images"  # the artifact folder of MLflow's image grid


@dataclass(frozen=True)
class Address:
    """The store, the run and the step of a result."""

    store: str
    """The tracking URI."""
    run_id: str
    step: str
    fingerprint: str
    inputs: Mapping[str, str]
    """The run ID of each upstream by name."""
    signals: tuple[str, ...]
    gear: bool
    lights: bool

    @property
    def sensors(self) -> Sensors:
        """The sensors that the servable needs."""
        return Sensors(self.signals, self.gear, self.lights)


@dataclass(frozen=True)
class StagedResult:
    """A folder with the artifacts in `files`, the servable in `bundle`, and the metrics and tags not sent yet."""

    folder: Path
    address: Address

    @property
    def files(self) -> Path:
        """The folder of the files, laid out as the run's artifacts."""
        return self.folder / "files"

    @property
    def bundle(self) -> Path:
        """The folder of the servable."""
        return self.folder / "bundle"

    @property
    def rehearsal(self) -> Path:
        """The file with the scenes that the servable answers before it serves."""
        return self.folder / rehearsal.FILE

    @classmethod
    def new(cls, folder: Path, address: Address) -> Self:
        """Create an empty staged result."""
        staged = cls(folder, address)
        staged.files.mkdir(parents=True)
        return staged

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a staged result that `keep` has moved to the cache."""
        address = json.loads((folder / _ADDRESS).read_text())
        return cls(folder, Address(**address | {"signals": tuple(address["signals"])}))

    def deliver(self, cache: Cache) -> None:
        """Upload everything, the manifest last, and end the run. Files of an earlier try are uploaded again.

        Raises:
            ValueError: If an upstream is not intact any more.
            MlflowException: If the store refuses the result.
            OSError: If files cannot be written.
        """
        run_id, client = self.address.run_id, store.client()
        upstreams = [open_run(upstream, cache) for upstream in self.address.inputs.values()]
        outbox = Outbox(run_id, self.folder)
        outbox.flush()
        store.forget_models(run_id)
        model_id = packaging.log_model(self.bundle, self.rehearsal, self.address.sensors, run_id)
        model = store.model_folder(model_id, cache)
        stored_mb, linked_mb = packaging.link_to_upstreams(model, [upstream.bundle for upstream in upstreams])
        _log.info(
            f"{self.address.step}: servable of {stored_mb:.1f} MB, {linked_mb:.1f} MB of it linked to its upstreams"
        )
        outbox.metrics_of_model({"servable/size_mb": stored_mb, "servable/linked_mb": linked_mb})
        if client.list_artifacts(run_id, _SHOWN):  # the manifest lists pictures that were sent earlier, too
            client.download_artifacts(run_id, _SHOWN, str(self.files))
        causal = Bundle.read(self.bundle).members[run_id].causal
        manifest = Manifest.of(self.files, model_id, model, causal)
        client.log_artifacts(run_id, str(self.files))
        outbox.tags({MANIFEST_TAG: manifest.sha256})
        outbox.flush()
        outbox.flush_model(model_id)
        manifest.write(self.files / FILE)
        client.log_artifact(run_id, str(self.files / FILE))
        lifecycle.finish(run_id)

    def keep(self, cache: Cache) -> Path:
        """Move the result to a part of the cache that is never evicted, and return its folder."""
        (self.folder / _ADDRESS).write_text(json.dumps(asdict(self.address), indent=1))
        return cache.keep(self.folder, OUTBOX, self.address.run_id)


def kept(cache: Cache) -> list[StagedResult]:
    """Return the results that wait for an upload to this store, the oldest first."""
    waiting = [StagedResult.read(cache.place(entry.kind, entry.key)) for entry in cache.entries(OUTBOX)]
    return [staged for staged in waiting if staged.address.store == mlflow.get_tracking_uri()]


def upload_kept(cache: Cache, fingerprint: str | None = None) -> list[Upstream]:
    """Upload the results that wait for this store, or only those with the given fingerprint."""
    waiting = [staged for staged in kept(cache) if fingerprint in (None, staged.address.fingerprint)]
    return [upload(staged, cache) for staged in waiting]


def upload(staged: StagedResult, cache: Cache) -> Upstream:
    """Upload and register a kept result, then delete it from this machine.

    Raises:
        ValueError: If its run does not exist any more, or an upstream is not intact any more.
        MlflowException: If the store refuses the result.
    """
    run_id = staged.address.run_id
    if not lifecycle.is_finished(run_id):  # else an earlier upload was interrupted after this line
        staged.deliver(cache)
    whole = open_run(run_id, cache)
    registry.register(whole)
    cache.forget(OUTBOX, run_id)
    _log.info(f"{whole.step}: uploaded run {run_id}, which was kept here")
    return whole
