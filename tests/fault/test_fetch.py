"""Without a network, every name gives a message within seconds on what to fetch from where; with one, it is fetched."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from huggingface_hub import constants
from torchvision import models

from atma18 import backbones
from atma18.backbones import detector
from steps import embed, fetch, main, nn1, nn2
from tests.fixtures import enter
from tests.pretrained import hub_folder, mmdet_file, resnet50
from tests.store import PROJECT, call, ran, refused

ONLINE = {
    "torchvision:resnet18@IMAGENET1K_V1": (
        r"resnet18-f37072fd\.pth .*\(45 MB\) from https://download\.pytorch\.org/models/resnet18-f37072fd\.pth",
        "torchvision:resnet18@/path/of/resnet18-f37072fd.pth",
    ),
    "hf:facebook/convnext-tiny-224": (
        r"config\.json and .*model\.safetensors .*\(114 MB\) from https://huggingface\.co/facebook/convnext-tiny-224/",
        "hf:/path/of/a/folder",
    ),
    "rsud20k:weights/detr.pth": (
        r"detr\.pth .*\(about 170 MB.*\) from https://github\.com/hasibzunair/RSUD20K/releases/download/v1/detr\.pth",
        "rsud20k:/path/of/detr.pth",
    ),
}
SHUT = "http://127.0.0.1:9"  # nothing listens on the port that is named discard


@pytest.fixture
def place(tmp_path):
    """An environment whose caches are empty and whose network is shut."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), SHUT)
    homes = {name: str(tmp_path / name) for name in ("HF_HOME", "TORCH_HOME", "ATMA18_CACHE")}
    return kept | proxies | homes | {"PYTHONPATH": str(PROJECT)}


def step(name, *words, cwd, env, seconds=60):
    command = [sys.executable, "-m", f"steps.{name}", *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds)


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def check_message(said, name):
    what, by_path = ONLINE[name]
    said = said.replace("\n", " ")
    assert "Traceback" not in said
    assert re.search(what, said), said
    assert f"say backbone={by_path}" in said
    assert f"mlflow run . -e fetch -P backbone={name}" in said


@pytest.mark.parametrize("name", ONLINE)
def test_without_a_network_fetching_fails_with_what_to_fetch_from_where_and_leaves_nothing(place, tmp_path, name):
    done = step("fetch", f"--backbone={name}", cwd=tmp_path, env=place, seconds=30)

    assert done.returncode == 1 and "could not be downloaded" in done.stderr
    check_message(done.stderr, name)
    assert [file for home in ("HF_HOME", "TORCH_HOME", "weights") for file in files_in(tmp_path / home)] == []


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Caches that are empty, and a note of every attempt to reach anything."""
    tried = []
    monkeypatch.setattr(socket.socket, "connect", lambda _self, address: tried.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: tried.append(address))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tried


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize("command", [embed, nn1, nn2, main], ids=lambda command: command.__name__.split(".")[1])
def test_a_step_tries_no_network_and_says_before_it_reads_data_what_to_fetch(
    no_network, tmp_path, monkeypatch, command, name
):
    enter(tmp_path, monkeypatch)

    check_message(refused(call(command, f"--backbone={name}", "--data=/nowhere")), name)

    assert no_network == []


@pytest.fixture
def server(tmp_path):
    """A web server of a folder."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def test_the_detector_is_fetched_to_where_its_name_says(server, tmp_path, monkeypatch):
    folder, url = server
    mmdet_file(folder / "detr.pth", resnet50())
    monkeypatch.setattr(detector, "SOURCE", f"{url}/detr.pth")
    place = tmp_path / "weights" / "detr.pth"

    said = ran(call(fetch, f"--backbone=rsud20k:{place}"))

    assert place.read_bytes() == (folder / "detr.pth").read_bytes()
    assert hashlib.sha256(place.read_bytes()).hexdigest() in said
    assert files_in(place.parent) == ["detr.pth"]


def torchvisions(monkeypatch, url, tmp_path, name):
    """Let torchvision's weights of mobilenet_v3_small be at a URL, and its cache in a folder."""
    weights = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", f"{url}/{name}", raising=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def test_torchvisions_weights_are_fetched_into_its_cache(server, tmp_path, monkeypatch):
    folder, url = server
    torch.save(models.mobilenet_v3_small(weights=None).state_dict(), folder / "file.pth")
    sha256 = hashlib.sha256((folder / "file.pth").read_bytes()).hexdigest()
    name = f"mobilenet_v3_small-{sha256[:8]}.pth"
    shutil.move(folder / "file.pth", folder / name)
    torchvisions(monkeypatch, url, tmp_path, name)

    said = ran(call(fetch, "--backbone=torchvision:mobilenet_v3_small@IMAGENET1K_V1"))

    assert sha256 in said and f"hub/checkpoints/{name}" in said
    assert backbones.build("torchvision:mobilenet_v3_small@DEFAULT").channels == 576


def test_a_download_that_is_another_file_than_its_name_says_leaves_nothing(server, tmp_path, monkeypatch):
    folder, url = server
    (folder / "mobilenet_v3_small-01234567.pth").write_bytes(b"another")
    torchvisions(monkeypatch, url, tmp_path, "mobilenet_v3_small-01234567.pth")

    said = refused(call(fetch, "--backbone=torchvision:mobilenet_v3_small@IMAGENET1K_V1"))

    assert "could not be downloaded: invalid hash value" in said
    assert files_in(Path(tmp_path / "hub")) == []


def test_what_is_there_is_not_fetched_again():
    assert "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db" in ran(call(fetch, "--backbone=lite0"))
    assert "weights drawn from the seed" in ran(call(fetch, "--backbone=torchvision:mobilenet_v3_small"))


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """What `huggingface_hub` asks of the hub for one model, with the files of a folder."""

    folder: Path

    def log_message(self, *_):
        """Say nothing."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = urlparse(self.path).path
        files = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        name = path.rsplit("/", 1)[1]
        if path == "/api/models/someone/small/revision/main":
            found, headers = json.dumps({"id": "someone/small", "sha": COMMIT}).encode(), {}
        elif path == f"/api/models/someone/small/tree/{COMMIT}":
            found, headers = json.dumps([listed(name, content) for name, content in files.items()]).encode(), {}
        elif path == f"/someone/small/resolve/{COMMIT}/{name}" and name in files:
            found = files[name]
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(found).hexdigest()}"'}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for key, value in {"Content-Length": str(len(found)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(found)


def listed(name, content):
    """A file of the hub's tree, stored as large ones are."""
    sha256 = hashlib.sha256(content).hexdigest()
    lfs = {"oid": sha256, "size": len(content), "pointerSize": 100}
    return {"type": "file", "path": name, "size": len(content), "oid": sha256[:40], "lfs": lfs}


def test_a_model_of_the_hub_is_fetched_into_its_cache_at_one_revision(place, tmp_path):
    folder = hub_folder("resnet", tmp_path / "web")
    (folder / "training.log").write_text("not wanted")
    handler = type("OfFolder", (Hub,), {"folder": folder})
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = place | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "NO_PROXY": "127.0.0.1"}
        done = step("fetch", "--backbone=hf:someone/small", cwd=tmp_path, env=env)
        server.shutdown()

    assert done.returncode == 0, done.stderr
    assert f"revision {COMMIT}" in done.stdout and sha256 in done.stdout
    [snapshot] = (tmp_path / "HF_HOME").glob("hub/models--someone--small/snapshots/*")
    assert snapshot.name == COMMIT
    assert {file.name for file in snapshot.iterdir()} == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    }
    later = step("fetch", "--backbone=hf:someone/small@v2", cwd=tmp_path, env=place)
    assert "could not be downloaded" in later.stderr and "tree/v2" in later.stderr
