"""An HTTP proxy before a real S3 server that answers wrongly where a choice says so, and notes what was asked."""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_UPSTREAM_TIMEOUT_S = 60
# What belongs to one connection, and is not handed on.
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


@dataclass(frozen=True)
class Request:
    """One request: `number` counts from 1 through the life of the proxy, `path` is decoded and without its query."""

    number: int
    method: str
    path: str
    range: str | None
    query: str = ""
    host: str = ""

    @property
    def is_listing(self) -> bool:
        """Whether it asks for a bucket rather than for an object in it."""
        return self.path.strip("/").count("/") == 0


@dataclass(frozen=True)
class Refuse:
    """Answer with an error of S3."""

    status: int
    code: str


@dataclass(frozen=True)
class Reset:
    """Reset the connection instead of an answer."""


@dataclass(frozen=True)
class Stall:
    """Be silent for so long, and then reset the connection."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """Let so many bytes of the body through and break the connection, after calling `before`."""

    after_bytes: int
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Shorten:
    """Answer with this share of the body as if it were all."""

    share: float


@dataclass(frozen=True)
class Answer:
    """Answer with this, whatever the server would."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rewrite:
    """Let the answer through with its body changed, and without some of its headers."""

    edit: Callable[[bytes], bytes]
    without: Collection[str] = ()
    """Names of headers in lower case."""


Fault = Refuse | Reset | Stall | Cut | Shorten | Answer | Rewrite


@dataclass
class Proxy:
    """A running proxy: `fault_of` says for each request what goes wrong, or None; it may be replaced at any time."""

    url: str
    fault_of: Callable[[Request], Fault | None]
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, method: str, target: str, range_: str | None, host: str) -> Fault | None:
        """Take down a request and return its fault."""
        url = urlsplit(target)
        with self._lock:
            request = Request(len(self.requests) + 1, method, unquote(url.path), range_, url.query, host)
            self.requests.append(request)
            fault = self.fault_of(request)
            if fault is not None:
                self.faults.append(fault)
            return fault


class _Handler(BaseHTTPRequestHandler):
    """Relays one request, or does to it what the proxy's fault says."""

    server: "_Server"
    protocol_version = "HTTP/1.1"

    def _relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.proxy.note(
            self.command, self.path, self.headers.get("Range"), self.headers.get("Host", "")
        )
        match fault:
            case Refuse():
                content = f"<Error><Code>{fault.code}</Code><Message>made up</Message></Error>".encode()
                self._answer_made(Answer(fault.status, content, {"Content-Type": "application/xml"}))
            case Answer():
                self._answer_made(fault)
            case Reset():
                self._reset()
            case Stall():
                time.sleep(fault.seconds)
                self._reset()
            case _:
                self._answer(body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _relay

    def _answer(self, body: bytes, fault: Cut | Shorten | Rewrite | None) -> None:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=_UPSTREAM_TIMEOUT_S)
        # The headers as they are, for they are signed; the client's Host among them.
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body or None)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if isinstance(fault, Shorten):
            content = content[: int(len(content) * fault.share)]
        left_out = set(_HOP_BY_HOP)
        if isinstance(fault, Rewrite):
            content = fault.edit(content)
            left_out |= set(fault.without)
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in left_out:
                self.send_header(name, value)
        declared = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if declared is not None:
            self.send_header("Content-Length", declared)
        self.end_headers()
        if isinstance(fault, Cut):
            self.wfile.write(content[: fault.after_bytes])
            self.wfile.flush()
            fault.before()
            self.close_connection = True
        else:
            self.wfile.write(content)

    def _answer_made(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _reset(self) -> None:
        # A socket that may linger for no time ends with a reset; detached, no farewell is said before.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the requests are noted."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the client gave up waiting


class _Server(ThreadingHTTPServer):
    """Listens on a port of 127.0.0.1, and relays to the server `upstream`, host and port."""

    daemon_threads = True

    def __init__(self, upstream: str, fault_of: Callable[[Request], Fault | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.proxy = Proxy(f"http://127.0.0.1:{self.server_address[1]}", fault_of)


@contextmanager
def faulty(endpoint: str, fault_of: Callable[[Request], Fault | None]) -> Iterator[Proxy]:
    """Serve a proxy before the server at `endpoint` on 127.0.0.1."""
    with _Server(urlsplit(endpoint).netloc, fault_of) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.proxy
        finally:
            server.shutdown()
            thread.join()
