"""A shared MLflow server for tests: with authentication, PostgreSQL and served artifacts."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from tests.server import NO_JOBS, free_port, wait_for

_BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_USER = {"user": "postgres"} if os.getuid() == 0 else {}
"""The user of PostgreSQL, which refuses to run as root."""
_AUTH = """\
[mlflow]
default_permission = READ
database_uri = postgresql+psycopg2://mlflow@127.0.0.1:{port}/auth
admin_username = admin
auth_cache_ttl_seconds = 60
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@dataclass
class Postgres:
    """A running PostgreSQL cluster with the databases mlflow and auth of the user mlflow."""

    port: int
    password: str

    def dump(self, *names):
        """The content of databases, by default of both, as text."""
        return b"".join(self._run("pg_dump", name).stdout for name in names or DATABASES)

    def create(self, name, dump=b""):
        """Make another database, empty or from the dump of one."""
        self._run("createdb", name)
        self._run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", name, given=dump)

    def _run(self, program, *words, given=None):
        reach = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "mlflow"]
        environment = os.environ | {"PGPASSWORD": self.password}
        return subprocess.run(
            [_BIN[-1] / program, *reach, *words], env=environment, input=given, capture_output=True, check=True
        )


DATABASES = ("mlflow", "auth")


@contextmanager
def postgres():
    """Start a cluster of Debian's PostgreSQL in a temporary folder."""
    assert _BIN, "expected PostgreSQL, found none: apt install postgresql"
    folder = Path(tempfile.mkdtemp(prefix="atma18-postgres-"))
    port, password = free_port(), secrets.token_hex(16)
    try:
        (folder / "password").write_text(password)
        if _USER:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres")
        made = ["-D", f"{folder}/data", "-U", "mlflow", "--auth=scram-sha-256", f"--pwfile={folder}/password"]
        subprocess.run([_BIN[-1] / "initdb", *made], cwd=folder, check=True, capture_output=True, **_USER)
        words = ["-D", f"{folder}/data", "-p", str(port), "-k", str(folder), "-h", "127.0.0.1", "-F"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([_BIN[-1] / "postgres", *words], cwd=folder, stdout=log, stderr=log, **_USER)
        try:
            reach = ["-h", "127.0.0.1", "-p", str(port), "-U", "mlflow"]
            while subprocess.run([_BIN[-1] / "pg_isready", *reach], capture_output=True).returncode:
                assert process.poll() is None, (folder / "log").read_text()
            cluster = Postgres(port, password)
            for name in DATABASES:
                cluster.create(name)
            yield cluster
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            process.wait()
    finally:
        shutil.rmtree(folder)


@dataclass
class Server:
    """A tracking server that can be stopped, and started again on the same port."""

    folder: Path
    words: list
    environment: dict
    port: int
    admin_password: str = ""
    process: subprocess.Popen = field(default=None)

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.folder / "server.log"

    def start(self):
        words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), *self.words]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        wait_for(f"{self.uri}/health", self.process)

    def stop(self):
        """Kill the server and its child processes, which would keep its port."""
        server = psutil.Process(self.process.pid)
        for process in [server, *server.children(recursive=True)]:
            process.kill()
        self.process.wait()

    @property
    def artifacts(self):
        return self.folder / "artifacts"


@contextmanager
def plain_server(folder):
    """A server with SQLite and without authentication."""
    words = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    server = Server(folder, [*words, "--workers", "1"], os.environ | NO_JOBS, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def uri_of(database, name="mlflow"):
    """One of the databases as a store; the password is in PGPASSWORD."""
    return f"postgresql+psycopg2://mlflow@127.0.0.1:{database.port}/{name}"


@contextmanager
def open_server(folder, database, *words, name="mlflow"):
    """A server with PostgreSQL and without authentication."""
    environment = os.environ | NO_JOBS | {"PGPASSWORD": database.password}
    server = Server(
        folder, ["--backend-store-uri", uri_of(database, name), "--workers", "1", *words], environment, free_port()
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def private_server(folder, database):
    """A server with PostgreSQL, authentication and an administrator."""
    (folder / "auth.ini").write_text(_AUTH.format(port=database.port))
    words = [
        "--backend-store-uri",
        uri_of(database),
        "--artifacts-destination",
        f"{folder}/artifacts",
        "--workers",
        "1",
    ]
    admin_password = secrets.token_hex(16)
    environment = (
        os.environ
        | NO_JOBS
        | {
            "PGPASSWORD": database.password,
            "MLFLOW_AUTH_CONFIG_PATH": f"{folder}/auth.ini",
            "MLFLOW_AUTH_ADMIN_PASSWORD": admin_password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        }
    )
    server = Server(folder, [*words, "--app-name", "basic-auth"], environment, free_port(), admin_password)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def administer(server, what, **given):
    """Create a user or grant a permission as the administrator, as in MLflow's documentation."""
    url = f"{server.uri}/api/{what}"
    answer = requests.post(url, json=given, auth=("admin", server.admin_password))
    assert answer.ok, answer.text
