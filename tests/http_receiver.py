"""A server on this machine that takes whatever is posted to it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class HttpReceiver:
    """What was posted, as path and body, and how it is answered: after `wait_s` with `status`."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.requests: list[tuple[str, bytes]] = []
        self.status, self.wait_s = 200, 0.0


@contextmanager
def receiving() -> Iterator[HttpReceiver]:
    """Serve until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(receiver.wait_s)
            receiver.requests.append((self.path, body))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = HttpReceiver(server.server_port)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()
