"""A proxy before a server, that fails on demand: slow, answering 500, or as if nobody were there."""

import time
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

_OF_ONE_LINK = {"connection", "transfer-encoding", "keep-alive", "content-length"}


class Proxy(ThreadingHTTPServer):
    """Hands requests on to a server, or fails as `mode` says."""

    daemon_threads = True

    def __init__(self, uri):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server_of = urlsplit(uri).netloc
        self.mode = "pass"
        """One of pass, slow, 500, away."""
        self.asked = []
        """The mode and the path of each request."""
        self.unanswered = 0
        """How many requests found no server."""

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.server_port}"

    def wait_for(self, path, count=1, mode="pass"):
        """Wait until somebody has asked for a path so many times in a mode."""
        self._wait(lambda: sum(path in asked for how, asked in self.asked if how == mode) >= count)

    def wait_for_nobody(self, count):
        """Wait until so many requests have found no server."""
        self._wait(lambda: self.unanswered >= count)

    def _wait(self, until, seconds=120):
        for _ in range(seconds * 50):
            if until():
                return
            time.sleep(0.02)
        raise AssertionError(f"waited {seconds} s for another request than these: {self.asked[-5:]}")

    def handle_error(self, request, client_address):
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self):
        proxy = self.server
        proxy.asked.append((proxy.mode, self.path))
        body = self._body()
        if proxy.mode == "away":
            self.close_connection = True
            self.connection.close()
            return
        if proxy.mode == "500":
            self._reply(500, [], b"a fault on purpose")
            return
        if proxy.mode == "slow":
            time.sleep(0.5)
        connection = HTTPConnection(proxy.server_of)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            response = connection.getresponse()
            content = response.read()
        except OSError:  # the server itself is away
            proxy.unanswered += 1
            self.close_connection = True
            self.connection.close()
            return
        finally:
            connection.close()
        self._reply(response.status, response.getheaders(), content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of the standard library

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        del self.headers["Transfer-Encoding"]
        return b"".join(parts)

    def _reply(self, status, headers, content):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OF_ONE_LINK:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *words):
        """Keep quiet."""


@contextmanager
def before(uri):
    """A proxy before a server."""
    with Proxy(uri) as proxy:
        thread = Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
