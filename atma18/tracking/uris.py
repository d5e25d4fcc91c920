"""URIs of MLflow as paths of this machine: the one place that decodes percent signs.

MLflow 3.17.2 names the default store of a folder `a b` by `sqlite:////…/a%20b/mlflow.db`, which SQLAlchemy decodes, and
the artifacts in it by a plain path, `/…/a b/mlruns/…`, which it decodes too.
"""

from pathlib import Path
from urllib.parse import quote, unquote, urlparse
from urllib.request import url2pathname

from sqlalchemy.engine import make_url

_SQLITE = "sqlite:///"


def database_path(uri: str) -> Path | None:
    """Return the file of an SQLite store, relative if the URI is; None for any other store."""
    if not uri.startswith(_SQLITE):
        return None
    database = make_url(uri).database
    return Path(database) if database else None


def of_database(path: Path) -> str:
    """Return the URI of an SQLite store."""
    return f"{_SQLITE}{quote(str(path.absolute()))}"


def local_path(uri: str) -> Path | None:
    """Return the path of artifacts on this machine, given as a path or as a file URI; None for those elsewhere."""
    scheme = urlparse(uri).scheme
    if scheme not in ("", "file"):
        return None
    return Path(url2pathname(urlparse(uri).path if scheme else uri))


def survives(path: Path) -> bool:
    """Return whether MLflow, which decodes plain paths too, finds files in the folder of this name."""
    return unquote(str(path)) == str(path)
