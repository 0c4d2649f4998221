"""The child's end of the pipe to its worker."""

import socket
import threading
from collections.abc import Iterator

from kasal_executor.pipe import ChildFrame, WorkerFrame, line


class Channel:
    """The child's end. Writing blocks while the worker is behind, so that no event is lost."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, frame: ChildFrame) -> None:
        encoded = line(frame)
        with self._lock:
            self._connection.sendall(encoded)

    def received(self) -> Iterator[WorkerFrame]:
        """Frames until the worker closes its end."""
        with self._connection.makefile("rb") as lines:
            for received in lines:
                yield WorkerFrame.model_validate_json(received)
