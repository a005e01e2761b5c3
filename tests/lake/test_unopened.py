"""Catalogs without a lake, and those that cannot be opened: one sentence with the remedy, whatever their kind."""

import pickle
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from emolake.cli.app import app
from emolake.errors import EmolakeError
from emolake.lake.connect import lake_if_any, open_lake
from emolake.lake.transact import LakeError
from emolake.lake.unopened import NoLakeError, unopened
from emolake.lake.warehouse import Catalog, WarehouseOptions
from emolake.settings import Settings
from emolake.upkeep.doctor import examine

from chaos.servers import new_database

NOT_YET = "is not there yet; the first run makes it"


@contextmanager
def connected(uri: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A server at a connection string, as the database `server`."""
    with duckdb.connect() as connection:
        connection.execute("LOAD postgres_scanner")
        connection.execute(f"ATTACH '{uri}' AS server (TYPE postgres)")
        yield connection


def execute(uri: str, sql: str) -> None:
    with connected(uri) as connection:
        connection.execute("CALL postgres_execute('server', $sql, use_transaction => false)", {"sql": sql})


def refused(target: str, folder: Path, *, read_only: bool = True) -> LakeError:
    """The error of opening a lake that cannot be opened."""
    warehouse = WarehouseOptions(catalog=f"postgres:{target}", data=str(folder / "data"))
    with pytest.raises(LakeError) as caught, open_lake(warehouse, read_only=read_only):
        pass
    assert caught.value.__suppress_context__, "a traceback would repeat the connection string"
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    def write(catalog: str) -> Path:
        (tmp_path / "calls" / "2026/11/20/oslo").mkdir(parents=True, exist_ok=True)
        path = tmp_path / "emolake.toml"
        path.write_text(f'[source]\nuri = "calls"\n[warehouse]\ncatalog = "{catalog}"\ndata = "data"\n')
        return path

    return write


def absent(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """A catalog of a kind that holds no lake."""
    if kind.startswith("postgres"):
        target = new_database(request.getfixturevalue("postgres"), f"{folder.name}-{kind.replace(' ', '-')}")
        if kind == "postgres of others":
            execute(target, "CREATE TABLE recordings (call int)")
            execute(target, "CREATE SCHEMA other CREATE TABLE ducklake_metadata (key text)")
        return f"postgres:{target}"
    path = folder / "catalog.sqlite"
    if kind == "sqlite of no bytes":
        path.touch()
    if kind == "sqlite of others":
        with sqlite3.connect(path) as catalog:
            catalog.execute("CREATE TABLE recordings (call int)")
        catalog.close()
    return f"sqlite:{path}"


KINDS = ("sqlite", "sqlite of no bytes", "sqlite of others", "postgres", "postgres of others")


@pytest.mark.server
@pytest.mark.parametrize("kind", KINDS)
def test_every_command_says_the_same_of_a_lake_that_is_not_there_yet(
    kind: str, tmp_path: Path, config: Callable[[str], Path], request: pytest.FixtureRequest
) -> None:
    catalog = absent(kind, tmp_path, request)
    path, warehouse = config(catalog), WarehouseOptions(catalog=catalog, data=str(tmp_path / "data"))
    for arguments in (
        ("query", "SELECT 1"),
        ("verify",),
        ("report", "-o", str(tmp_path / "report.html")),
        ("gaps",),
        ("retry", "--quarantined"),
        ("maintain",),
        ("erase", "--where", "true"),
        ("erase", "--recording", "x.wav"),
        ("forget", "--model", "m"),
        ("relocate",),
    ):
        done = CliRunner().invoke(app, [*arguments, "--config", str(path)])
        assert isinstance(done.exception, EmolakeError), (arguments, done.exception)
        assert NOT_YET in str(done.exception), arguments
    check = next(check for check in examine(Settings(warehouse=warehouse)) if check.name == "catalog")
    assert check.ok
    assert check.detail.endswith(NOT_YET)
    with lake_if_any(warehouse) as lake:  # what the plan asks
        assert lake is None
    assert not (tmp_path / "data").exists()
    with open_lake(warehouse) as lake:  # beside what others have there
        assert lake.rows("SELECT count(*) FROM runs") == [(0,)]


@pytest.mark.parametrize(
    "said",
    [
        'Existing DuckLake at metadata catalog "x" does not exist - and creating a new DuckLake is disabled',
        "FEHLER:  Relation »ducklake_metadata« existiert nicht",
        "ERREUR:  la relation « ducklake_metadata » n'existe pas",
        'エラー:  リレーション"ducklake_metadata"は存在しません',
        "",
    ],
)
@pytest.mark.parametrize("kind", ["sqlite of others", "postgres"])
def test_the_catalog_is_asked_and_not_the_words_of_an_error(
    kind: str, said: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    warehouse = WarehouseOptions(catalog=absent(kind, tmp_path, request), data=str(tmp_path / "data"))
    with duckdb.connect() as connection:
        connection.execute(f"LOAD {warehouse.parsed_catalog.kind}_scanner")
        for error in (duckdb.InvalidInputException(said), duckdb.IOException(said), duckdb.Error(said)):
            assert isinstance(unopened(connection, warehouse, error, making=False), NoLakeError)


def test_what_a_server_refuses_is_named_with_the_remedy(postgres: str, tmp_path: Path) -> None:
    database = new_database(postgres, tmp_path.name)
    admin = database.replace(f"dbname={tmp_path.name}", "dbname=postgres")
    host = postgres.partition("host=")[2]

    nowhere = database.replace(tmp_path.name, "nowhere")
    for target in (nowhere, f"postgresql://postgres@/nowhere?host={host}", f"{database} dbname='nowhere'"):
        for read_only in (True, False):
            said = str(refused(target, tmp_path, read_only=read_only))
            assert "has no database nowhere" in said
            assert "create it (`createdb nowhere`)" in said

    for target in (
        "dbname=x host=127.0.0.1 port=1 user=postgres password=hunter2",
        "dbname=x host=nohost.invalid user=postgres password=hunter2",
        f"{database} user=nobody",
    ):
        said = str(refused(target, tmp_path))
        assert "cannot be reached: " in said
        assert "check that the server is up, and host, port, user and password" in said
        assert "hunter2" not in said

    for target in (
        "nonsense",
        "dbname=x password=hunter 2 of hunter2",
        "postgresql://me:hunter2@host:port/x",
    ):
        said = str(refused(target, tmp_path))
        assert said.startswith("warehouse.catalog is no connection string of PostgreSQL")
        assert "hunter" not in said

    role = f"reader-{tmp_path.name}"
    execute(admin, f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'hunter 2'")
    rules, reader = Path(host) / "pg_hba.conf", f"{database} user={role}"
    before = rules.read_text()
    assert "cannot be made: " in (said := str(refused(reader, tmp_path, read_only=False)))
    assert "create tables in the schema public" in said
    with open_lake(WarehouseOptions(catalog=f"postgres:{database}", data=str(tmp_path / "data"))):
        pass
    assert "let the role of warehouse.catalog read" in str(refused(reader, tmp_path))
    try:
        rules.write_text(f'local all "{role}" scram-sha-256\nlocal all all trust\n')
        execute(admin, "SELECT pg_reload_conf()")
        time.sleep(0.5)
        for target in (reader, f"{reader} password='not hunter 2'"):
            said = str(refused(target, tmp_path))
            assert "cannot be reached: " in said
            assert "password" in said
            assert "hunter" not in said
        execute(admin, f'REVOKE CONNECT ON DATABASE "{tmp_path.name}" FROM PUBLIC')
        assert "connect to it" in str(refused(f"{reader} password='hunter 2'", tmp_path))
    finally:
        rules.write_text(before)
        execute(admin, "SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("target", "database"),
    [
        ("dbname=lake host=db", "lake"),
        ("host=db dbname = 'my lake' user=u", "my lake"),
        (r"dbname='it\'s' host=db", "it's"),
        ("dbname=no'where", "no'where"),
        ("dbname=a dbname=b", "b"),
        ("host=db user=u", None),
        ("hostdbname=x host=db", None),
        ("postgresql://u:p@db:5432/lake?sslmode=require", "lake"),
        ("postgres://db/my%20lake", "my lake"),
        ("postgresql://u@/?host=/run", None),
        ("postgresql://u@", None),
    ],
)
def test_the_database_that_a_connection_string_names(target: str, database: str | None) -> None:
    assert Catalog("postgres", target).database == database
    if database is None or "'" not in database:
        assert Catalog("postgres", target).with_database("other").target.count("other") == 1


def test_a_file_that_is_no_catalog_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no database at all\n" * 100)
    warehouse = WarehouseOptions(catalog=f"sqlite:{tmp_path / 'notes'}", data=str(tmp_path / "data"))
    for read_only in (True, False):
        with (
            pytest.raises(LakeError, match="cannot be opened: .*not a database.*check warehouse.catalog"),
            open_lake(warehouse, read_only=read_only),
        ):
            pass
    below = WarehouseOptions(catalog=f"sqlite:{tmp_path / 'notes' / 'c.sqlite'}", data=str(tmp_path / "data"))
    with pytest.raises(LakeError, match="cannot be made .*correct warehouse.catalog"), open_lake(below):
        pass


def test_an_error_without_a_lake_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(NoLakeError("the catalog /x")))
    assert str(error) == str(NoLakeError("the catalog /x"))


def test_a_lake_that_is_made_just_when_it_is_looked_for_is_opened(
    embedded: WarehouseOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(str(embedded.parsed_catalog.file))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()  # as a run leaves it for a moment

    def made_meanwhile(*arguments: Any, **named: Any) -> LakeError:
        monkeypatch.setattr("emolake.lake.connect.unopened", unopened)
        with open_lake(embedded):
            pass
        return unopened(*arguments, **named)

    monkeypatch.setattr("emolake.lake.connect.unopened", made_meanwhile)
    with open_lake(embedded, read_only=True) as lake:
        assert lake.exists()
