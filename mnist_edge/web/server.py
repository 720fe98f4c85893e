"""Serves pages from memory by HTTP, and nothing else."""

import hashlib
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePath
from typing import Any, Self
from urllib.parse import unquote

from mnist_edge.core.errors import AddressError
from mnist_edge.web.connections import Connections, most_connections

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
OTHER = "application/octet-stream"
IDLE_SECONDS = 10  # that a connection may stay without a whole request, or a reader without reading
PART = 65_536  # bytes that are sent at once
HEADERS = {
    "Cache-Control": "no-cache",  # kept by the browser, but asked for again: a new export shows at the next load
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # these three isolate the page, which gives it a clock of 5 µs instead of 100
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Page:
    """One page: its bytes, their MIME type and their SHA-256."""

    content: bytes
    type: str
    sha256: str

    @classmethod
    def of(cls, content: bytes, name: str) -> Self:
        """Return a page with the MIME type of a file's name."""
        return cls(content, TYPES.get(PurePath(name).suffix, OTHER), hashlib.sha256(content).hexdigest())


Site = Mapping[str, Page]
"""Paths without the leading slash, and what is there; the empty one is the start page."""


class Server(ThreadingHTTPServer):
    """Serves a site until `serve_forever` is interrupted. Port 0 takes a free one.

    Raises:
        AddressError: the address is no one's here, or the port is busy or not ours to take.
    """

    daemon_threads = True
    allow_reuse_port = False  # else a second server would silently share a busy port
    request_queue_size = 512

    def __init__(self, host: str, port: int, site: Site, policy: str) -> None:
        self.site, self.headers = site, {**HEADERS, "Content-Security-Policy": policy}
        self.most, self.connections = most_connections(), Connections()
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), _Handler)
        except (OSError, UnicodeError) as error:  # the latter is of names that no host can have
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise AddressError(
                f"{host}, port {port}: {reason}. Choose another: --port 8001, or --port 0 for any that is free; "
                "--host takes an address of this machine."
            ) from error

    @property
    def loopback(self) -> bool:
        """Return whether only this machine can reach it."""
        return self._bound.startswith("127.") or self._bound == "::1"

    def answers_to(self, host: str) -> bool:
        """Return whether a request's Host is ours; another name on loopback is a site pointed at this machine."""
        port = self.server_address[1]
        name = host.lower().removesuffix(":80" if port == 80 else f":{port}")
        whole = port == 80 or name != host.lower()
        return not self.loopback or (whole and name in ("127.0.0.1", "localhost", "[::1]", self._bound))

    @property
    def url(self) -> str:
        """Return the address to type on this machine, or on another one where that can reach it."""
        host = self._bound
        if host in ("0.0.0.0", "::"):
            host = _outward(self.address_family)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_address[1]}/"

    @property
    def _bound(self) -> str:
        return str(self.server_address[0])

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; where there are as many as there may be, the one that was idle longest goes first."""
        full = len(self.connections) >= self.most
        try:
            if full and not self.connections.close_idle():
                raise OSError("all connections are in use")
            connection, address = super().get_request()
        except OSError:
            time.sleep(0.01)
            raise  # `serve_forever` tries again
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.connections.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a browser went away; all else is a bug and shows."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: Server

    def handle_one_request(self) -> None:
        """Answer one request; the connection is idle until its head is there."""
        self.server.connections.set_idle(self.connection, True)
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Read the head of a request."""
        whole = super().parse_request()
        self.server.connections.set_idle(self.connection, False)
        return whole

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0]).removeprefix("/")
        page = self.server.site.get(path)
        status, body, kind = HTTPStatus.NOT_FOUND, b"There is nothing here.\n", "text/plain; charset=utf-8"
        if not self.server.answers_to(self.headers.get("Host", "")):
            page, status, body = None, HTTPStatus.MISDIRECTED_REQUEST, b"This is not the address that is served.\n"
        if page is not None:
            status, body, kind = HTTPStatus.OK, page.content, page.type
            if self.headers.get("If-None-Match") == f'"{page.sha256}"':
                status, body = HTTPStatus.NOT_MODIFIED, b""
        self.send_response(status)
        if page is not None:
            self.send_header("ETag", f'"{page.sha256}"')
        self.send_header("Content-Type", kind)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(body)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            for start in range(0, len(body), PART):  # a slow reader has the time-out for each part
                self.wfile.write(memoryview(body)[start : start + PART])

    do_HEAD = do_GET

    def version_string(self) -> str:
        return "mnist-edge"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: the terminal is the user's."""


def _outward(family: int) -> str:
    """Return this machine's address in its network; a UDP socket finds it without sending anything."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))  # reserved for documents
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
