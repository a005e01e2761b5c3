"""A TCP proxy before an HTTP server that breaks connections off in mid-answer, and notes what was asked."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Cuts:
    """Which answers to a GET of an object are cut, and the ranges that were asked for.

    `after` gives for the number of the request how many bytes of the answer pass, or None for all;
    `before_cut` is called just before the connection is broken.
    """

    after: Callable[[int], int | None]
    before_cut: Callable[[], None] = lambda: None
    ranges: list[str | None] = field(default_factory=list)


@contextmanager
def cutting_proxy(endpoint: str, key: str, cuts: Cuts) -> Iterator[str]:
    """URL of the proxy; requests for other paths than the key's pass untouched."""
    host, _, port = endpoint.removeprefix("http://").rstrip("/").partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(
                    target=_relay, args=(client, (host, int(port)), key, cuts), daemon=True
                ).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _relay(client: socket.socket, upstream: tuple[str, int], key: str, cuts: Cuts) -> None:
    """Relay one connection, request by request; requests have no body here."""
    with client, socket.create_connection(upstream) as server, suppress(OSError):
        while True:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                received = client.recv(65536)
                if not received:
                    return
                request += received
            passing: int | None = None
            if request.startswith(b"GET ") and key.encode() in request.split(b" ")[1]:
                found = re.search(rb"\r\nRange: (.*?)\r\n", request, re.IGNORECASE)
                cuts.ranges.append(found[1].decode() if found else None)
                passing = cuts.after(len(cuts.ranges))
            # One answer a connection, so that its end is the server's.
            server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            while answer := server.recv(65536):
                if passing is not None and len(answer) >= passing:
                    client.sendall(answer[:passing])
                    cuts.before_cut()
                    return
                client.sendall(answer)
                passing = None if passing is None else passing - len(answer)
            return
