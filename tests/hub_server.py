"""A hub on loopback: the few answers that huggingface_hub asks for, over folders of files."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"
TOKEN = "hf_secret"


@dataclass
class Hub:
    """`gated` repositories ask for TOKEN; `served` are the files that were sent, in order."""

    folder: Path
    gated: tuple[str, ...] = ()
    url: str = ""
    served: list[str] = field(default_factory=list)


@contextmanager
def serve_hub(hub: Hub) -> Iterator[Hub]:
    """Serve `hub.folder/OWNER/NAME` as repositories of one commit, COMMIT, also called main."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            metadata = parts[:2] == ["api", "models"]
            owner, name, kind, revision, *rest = [*(parts[2:] if metadata else parts), "", "", ""][:20]
            repository = hub.folder / owner / name
            path = repository / "/".join(filter(None, rest))
            if not repository.is_dir():
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            elif revision not in ("main", COMMIT):
                self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            elif metadata:
                files = [
                    each.relative_to(repository).as_posix()
                    for each in repository.rglob("*")
                    if each.is_file()
                ]
                info: object = {
                    "id": f"{owner}/{name}",
                    "sha": COMMIT,
                    "siblings": [{"rfilename": each} for each in files],
                }
                if kind == "tree":
                    info = [
                        {
                            "type": "file",
                            "path": each,
                            "size": (repository / each).stat().st_size,
                            "oid": "0" * 40,
                        }
                        for each in files
                    ]
                self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, body=body)
            elif f"{owner}/{name}" in hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._send(403, b"", {"X-Error-Code": "GatedRepo"})
            elif not path.is_file():
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            else:
                content = path.read_bytes()
                if body:
                    hub.served.append(f"{owner}/{name}/{path.relative_to(repository).as_posix()}")
                tag = hashlib.sha256(content).hexdigest()
                self._send(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"'}, body=body)

        def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body and self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
