"""Live versions: what a service asks of the registry."""

from dataclasses import dataclass

from atma18.bundle import servable
from atma18.cache import Cache
from atma18.compute import Compute
from atma18.serving import rehearsal
from atma18.serving.answering import Answering
from atma18.tracking.versions import named_version, open_version


@dataclass(frozen=True)
class Named:
    """What a `models:/` URI names now."""

    model: str
    number: int
    by_alias: bool
    """Whether it may name another version later."""


def version_named(given: str) -> Named:
    """Return the version that a `models:/` URI names now.

    Raises:
        ValueError: If it names none.
    """
    version = named_version(given)
    return Named(str(version.name), int(version.version), "@" in given)


def bring(model: str, number: int, cache: Cache) -> Answering:
    """Fetch a version, verify every file, load it, and let it answer its rehearsal.

    Raises:
        ValueError: If it is not intact, does not load, or answers otherwise than its run stored.
    """
    uri = f"models:/{model}/{number}"
    upstream = open_version(named_version(uri), cache)
    try:
        loaded = servable.load(upstream.bundle, Compute.choose().device)
        stored = upstream.model / "artifacts" / rehearsal.FILE
        rehearsed = rehearsal.rehearse(loaded, stored) if stored.is_file() else 0
    except ValueError as error:
        raise ValueError(f"{uri}: {error}") from error
    return Answering(model, number, upstream.run_id, loaded, rehearsed)
