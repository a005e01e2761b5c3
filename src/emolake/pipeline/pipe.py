"""Messages between processes, whose arrays travel beside them."""

import mmap
import os
import pickle
from multiprocessing.connection import Connection
from typing import Any


class Pipe:
    """One end of a pair of connected sockets.

    What is sent is pickled, but arrays go as they lie in memory (PEP 574), and each comes to lie in a mapping of its
    own. So its pages are the system's again as soon as it is dropped: the C library would keep those of blocks that
    come and go between threads, in pieces that nothing fits into.
    """

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor of a connected socket, which is closed with this end."""
        self._connection = Connection(descriptor)

    def send(self, message: object) -> None:
        """Send a message; raises BrokenPipeError or ConnectionResetError when the other end is closed."""
        buffers: list[pickle.PickleBuffer] = []
        body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        self._connection.send(([array.nbytes for array in arrays], body))
        for array in arrays:
            while array:
                array = array[os.write(self._connection.fileno(), array) :]

    def receive(self, timeout_s: float | None = None) -> Any:
        """Return the next message.

        Raises:
            TimeoutError: the other end was silent for `timeout_s`.
            EOFError: it is closed.
            ConnectionResetError: it was closed before it had read everything.
        """
        self._wait(timeout_s)
        sizes, body = self._connection.recv()
        return pickle.loads(body, buffers=[self._array(size, timeout_s) for size in sizes])

    def close(self) -> None:
        """Close this end; the other one's next message has nowhere to go."""
        self._connection.close()

    def _array(self, size: int, timeout_s: float | None) -> mmap.mmap | bytearray:
        if not size:
            return bytearray()
        mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        missing = memoryview(mapping)
        while missing:
            self._wait(timeout_s)
            read = os.readv(self._connection.fileno(), [missing])
            if not read:
                raise EOFError
            missing = missing[read:]
        return mapping

    def _wait(self, timeout_s: float | None) -> None:
        if not self._connection.poll(timeout_s):
            raise TimeoutError
