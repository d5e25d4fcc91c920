"""The folder and the size limit of the cache, from environment variables."""

from collections.abc import Mapping
from pathlib import Path

from atma18.quoting import shown

PLACE = "ATMA18_CACHE"
LIMIT = "ATMA18_CACHE_LIMIT_GB"


def default_root(environment: Mapping[str, str]) -> Path:
    """Return the cache folder: `ATMA18_CACHE`, else `atma18` in the user's own cache folder."""
    if chosen := environment.get(PLACE):
        return Path(chosen).expanduser().absolute()
    users = environment.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification says to ignore relative paths.
    return (Path(users) if Path(users).is_absolute() else Path.home() / ".cache") / "atma18"


def default_limit_bytes(environment: Mapping[str, str]) -> int | None:
    """Return the size limit in `ATMA18_CACHE_LIMIT_GB`, or None if it is not set.

    Raises:
        ValueError: If the variable is not a number above 0.
    """
    text = environment.get(LIMIT)
    return limit_bytes(text, LIMIT) if text else None


def limit_bytes(text: str, name: str) -> int:
    """Parse a number of gigabytes; `name` is the name of the setting in messages.

    Raises:
        ValueError: If it is not a number above 0.
    """
    try:
        limit_gb = float(text)
    except ValueError:
        limit_gb = float("nan")
    if not 0 < limit_gb < float("inf"):
        raise ValueError(f"{name}: expected a number of gigabytes above 0, found {shown(text)}")
    return round(limit_gb * 1e9)
