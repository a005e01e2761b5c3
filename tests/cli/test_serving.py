"""`emolake serve` where something else has the port."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from emolake.cli.serving import serve_schedules
from emolake.errors import ConfigurationError
from emolake.settings import Settings

pytestmark = pytest.mark.usefixtures("no_prefect")


@pytest.fixture
def taken_port() -> Iterator[int]:
    """The port of a server that answers as a healthy one of Prefect does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_server_of_somebody_else_is_not_taken_for_its_own(taken_port: int) -> None:
    expected = (
        f"port {taken_port} of 127.0.0.1 cannot be listened on \\(Address already in use\\); "
        "choose another with --port, or set PREFECT_API_URL if it is your server of Prefect$"
    )
    with pytest.raises(ConfigurationError, match=expected):
        serve_schedules(
            Path("emolake.toml"), Settings(), nightly="no", maintain="no", alert="no", port=taken_port
        )
