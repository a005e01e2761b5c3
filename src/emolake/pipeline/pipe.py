"""Messages between processes, whose arrays travel beside them."""

import mmap
import pickle
import socket
from struct import Struct
from typing import Any

# Bytes of the body, and how many arrays follow it; the bytes of each come first.
_HEAD = Struct("<QI")
_SIZE = Struct("<Q")
# What may be under way: a segment, so that its sender need not wait for the receiver. The system may allow less.
_UNDER_WAY = 1 << 20
# Faults of single pages take longer than reading what they are for; not every system knows of it.
_POPULATED = getattr(mmap, "MAP_POPULATE", 0)


class Pipe:
    """One end of a pair of connected sockets.

    What is sent is pickled, but arrays go as they lie in memory (PEP 574), and each comes to lie in a mapping of its
    own. So its pages are the system's again as soon as it is dropped: the C library would keep those of blocks that
    come and go between threads, in pieces that nothing fits into.
    """

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor of a connected socket, which is closed with this end."""
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNDER_WAY)

    def send(self, message: object) -> None:
        """Send a message; raises BrokenPipeError or ConnectionResetError when the other end is closed."""
        buffers: list[pickle.PickleBuffer] = []
        body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        sizes = b"".join(_SIZE.pack(array.nbytes) for array in arrays)
        self._socket.settimeout(None)
        self._socket.sendall(b"".join([_HEAD.pack(len(body), len(arrays)), sizes, body]))
        for array in arrays:
            self._socket.sendall(array)

    def receive(self, timeout_s: float | None = None) -> Any:
        """Return the next message.

        Raises:
            TimeoutError: the other end was silent for `timeout_s`.
            EOFError: it is closed.
            ConnectionResetError: it was closed before it had read everything.
        """
        self._socket.settimeout(timeout_s)
        length, arrays = _HEAD.unpack(self._read(bytearray(_HEAD.size)))
        rest = self._read(bytearray(arrays * _SIZE.size + length))
        sizes = [size for (size,) in _SIZE.iter_unpack(rest[: arrays * _SIZE.size])]
        return pickle.loads(rest[arrays * _SIZE.size :], buffers=[self._array(size) for size in sizes])

    def close(self) -> None:
        """Close this end; the other one's next message has nowhere to go."""
        self._socket.close()

    def _array(self, size: int) -> mmap.mmap | bytearray:
        if not size:
            return bytearray()
        mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _POPULATED)
        with memoryview(mapping) as view:
            self._read(view)
        return mapping

    def _read(self, into: Any) -> Any:
        """Fill a buffer, and return it."""
        missing = memoryview(into)
        while missing:
            read = self._socket.recv_into(missing)
            if not read:
                raise EOFError
            missing = missing[read:]
        return into
