"""The demo's server under load: many requests at once, connections that say nothing, few file descriptors."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest

SERVE = """
import resource, sys
from mnist_edge.web import server
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
server._Handler.timeout = float(sys.argv[2])
page = server.Page.of(b"x" * 200_000, "index.html")
with server.Server("127.0.0.1", 0, {"": page}, "default-src 'none'") as running:
    print(running.server_address[1], flush=True)
    running.serve_forever()
"""
Serve = Callable[[int, float], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server with so many file descriptors and so many seconds for an idle connection; it gives its port."""
    running: list[subprocess.Popen[str]] = []

    def start(files: int, seconds: float) -> int:
        command = [sys.executable, "-c", SERVE, str(files), str(seconds)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        assert running[-1].stdout is not None
        return int(running[-1].stdout.readline())

    yield start
    for process in running:
        assert process.poll() is None, "the server has ended"
        process.terminate()
        assert "Traceback" not in process.communicate()[1]


def get(port: int) -> int:
    """Return how many bytes the page has."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200
    length = len(answer.read())
    connection.close()
    return length


@pytest.mark.parametrize("files", [64, 1024])
def test_300_requests_at_once(serve: Serve, files: int) -> None:
    port = serve(files, 10)
    with ThreadPoolExecutor(300) as pool:
        assert set(pool.map(get, [port] * 300)) == {200_000}


def test_idle_connections_do_not_lock_others_out(serve: Serve) -> None:
    port = serve(64, 60)
    with ExitStack() as stack:
        for number in range(70):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            silent.sendall(b"GET / HTTP/1.1\r\n" if number % 2 else b"")  # some are half a request
        assert get(port) == 200_000


def test_a_connection_without_a_whole_request_is_closed(serve: Serve) -> None:
    port = serve(64, 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as half:
        half.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1")
        assert half.recv(1000) == b""
