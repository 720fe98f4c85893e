"""The open connections of the demo's server: how many there may be, and which of them may go."""

import socket
import threading
import time
from contextlib import suppress

MOST = 256
GRACE_SECONDS = 1  # in which a request that is on its way arrives
OTHER_FILES = 40  # descriptors that the process needs for all else


class Connections:
    """The open connections; those that have no whole request are idle, the longest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[socket.socket, float] = {}  # since when
        self._all: set[socket.socket] = set()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: socket.socket) -> None:
        """Add a new one, which is idle."""
        with self._lock:
            self._all.add(connection)
            self._idle[connection] = time.monotonic()

    def remove(self, connection: socket.socket) -> None:
        """Forget one."""
        with self._lock:
            self._all.discard(connection)
            self._idle.pop(connection, None)

    def set_idle(self, connection: socket.socket, idle: bool) -> None:
        """Note whether one waits for a request."""
        with self._lock:
            self._idle.pop(connection, None)
            if idle and connection in self._all:
                self._idle[connection] = time.monotonic()

    def close_idle(self) -> bool:
        """End the one that was idle longest; return whether there was one that had had its time."""
        with self._lock:
            connection, since = next(iter(self._idle.items()), (None, 0.0))
            if connection is None or time.monotonic() - since < GRACE_SECONDS:
                return False
            self._idle.pop(connection)
            with suppress(OSError):  # its thread reads an end, and closes it
                connection.shutdown(socket.SHUT_RDWR)
            return True


def most_connections() -> int:
    """Return how many connections there may be, by the file descriptors that this process may have."""
    try:
        import resource
    except ImportError:
        return MOST  # not a POSIX system
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return MOST
    return max(4, min(MOST, limit - OTHER_FILES))
