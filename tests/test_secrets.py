"""Secrets seeded into URIs, connection strings, the environment and names: no output and no file shows one."""

import sys
from datetime import date
from pathlib import Path

import duckdb
import pytest
from prefect.client.orchestration import get_client

from emolake.cli.app import main
from emolake.flows.backfill import backfill
from emolake.lake.connect import open_lake
from emolake.lake.transact import LakeError
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.runs import RunFailedError
from emolake.settings import load_settings

from made_lake import sqlite_warehouse
from made_model import write_tiny_model

DAY = date(2026, 11, 20)
SECRET = "hunter2"
SIGNED = f"X-Amz-Algorithm=AWS4&X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}"
# What opens the catalog without a flow; flows are tried below, under a Prefect server of the test's own.
COMMANDS = [
    ("doctor",),
    ("status",),
    ("query", "SELECT 1"),
    ("report",),
    ("verify",),
    ("gaps", "--from", str(DAY), "--to", str(DAY)),
    ("retry", "--quarantined"),
    ("maintain",),
    ("erase", "--where", "true", "--yes"),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are all wrong, and all secret."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD"):
        monkeypatch.setenv(name, f"{SECRET}-{name}")
    monkeypatch.setenv("HF_TOKEN", f"hf_{SECRET}{SECRET}{SECRET}")


def configured(folder: Path, *, source: str = 'uri = "calls"', warehouse: str = "", model: str = "") -> Path:
    write_tiny_model(folder / "tiny")
    config = folder / "emolake.toml"
    config.write_text(
        f"[source]\n{source}\nconnect_timeout_s = 1.0\n[warehouse]\n{warehouse}\n"
        f'[inference]\nmodel = "tiny"\n[models.tiny]\n' + (model or 'path = "tiny"')
    )
    return config


def said(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """Return all that a command writes; it must fail."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["emolake", *command])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
    output, errors = capsys.readouterr()
    assert ended.value.code in (1, 2), output + errors
    assert errors
    return output + errors


def holding(folder: Path, but: str = "emolake.toml") -> list[Path]:
    """Return the files below a folder that hold the secret."""
    return [
        path for path in folder.rglob("*")
        if path.is_file() and path.name != but and SECRET.encode() in path.read_bytes()
    ]  # fmt: skip


WRONG = {
    "a bucket's credentials": {"source": f'uri = "s3://key:{SECRET}@calls"'},
    "a bucket's credentials with a slash": {"source": f'uri = "s3://key:se/{SECRET}@calls"'},
    "a presigned URL": {"source": f'uri = "s3://calls?{SIGNED}"'},
    "an endpoint's credentials": {
        "source": f'uri = "s3://calls"\nendpoint_url = "http://user:{SECRET}@127.0.0.1:1"'
    },
    "the data's credentials": {"warehouse": f'data = "s3://key:se/{SECRET}@lake"'},
    "the data's endpoint": {"warehouse": f'data = "s3://lake"\nendpoint_url = "http://{SECRET}@127.0.0.1:1"'},
    "another scheme": {"source": f'uri = "ftp://user:{SECRET}@host/calls"'},
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
def test_a_uri_with_credentials_is_refused_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str, debug: list[str]
) -> None:
    config = configured(tmp_path, **WRONG[wrong])
    for command in (("doctor",), ("backfill", str(DAY), str(DAY), "--plan"), ("query", "SELECT 1")):
        shown = said(capsys, *command, "--config", str(config), *debug)
        assert SECRET not in shown
        assert "ConfigurationError" in shown if debug else "credentials" in shown


CATALOGS = [
    f"postgres:host=127.0.0.1 port=1 user=me password={SECRET} dbname=lake",
    f"postgres:host=127.0.0.1 port=1 password='it {SECRET}' connect_timeout=1",
    f"postgres:postgresql://me:{SECRET}@127.0.0.1:1/lake",
    f"mysql:host=127.0.0.1 password={SECRET}",
]


@pytest.mark.parametrize("catalog", CATALOGS)
def test_a_catalogs_password_is_shown_by_no_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], catalog: str
) -> None:
    (tmp_path / "calls").mkdir()
    config = configured(tmp_path, warehouse=f'catalog = "{catalog}"')
    for command in COMMANDS:
        shown = said(capsys, *command, "--config", str(config), "--debug")
        assert SECRET not in shown
        assert "Error" in shown or "FAIL" in shown
    assert holding(tmp_path) == []


def test_an_error_of_a_renewed_connection_shows_no_password(tmp_path: Path, postgres: str) -> None:
    """The text of the extension's own errors repeats the whole connection string."""
    from duckdb_extensions import import_extension

    dsn = f"host=127.0.0.1 port=1 user=me password={SECRET} dbname=lake"

    def connect(connection: duckdb.DuckDBPyConnection) -> None:
        import_extension("postgres_scanner", con=connection)
        connection.execute("LOAD postgres_scanner")
        connection.execute(f"ATTACH '{dsn}' AS other (TYPE postgres)")

    with pytest.raises(duckdb.Error, match=SECRET), duckdb.connect() as bare:
        connect(bare)
    with (
        pytest.raises(LakeError, match=r"password=\*\*\*.*check that the catalog's server") as caught,
        open_lake(WarehouseOptions(catalog=f"postgres:{postgres}", data=str(tmp_path / "data"))) as lake,
    ):
        connect(lake.connection)
    assert caught.value.__suppress_context__


def test_other_errors_in_a_lake_are_raised_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(duckdb.CatalogException), open_lake(sqlite_warehouse(tmp_path)) as lake:
        lake.connection.execute("FROM nothing")


def test_a_model_of_the_hub_shows_no_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = configured(tmp_path, model='family = "transformers"\nmodel = "nobody/nothing"')
    for debug in ([], ["--debug"]):
        shown = said(capsys, "predict", str(config), "--config", str(config), *debug)
        assert SECRET not in shown


def test_no_run_shows_a_secret_to_prefect_or_to_a_file(
    tmp_path: Path, prefect: None, s3: tuple[str, Path], capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A name that holds a presigned URL's signature, and credentials that the server refuses."""
    caplog.set_level("DEBUG")
    day = s3[1] / "calls" / f"{DAY:%Y/%m/%d}" / "oslo"
    day.mkdir(parents=True)
    (day / f"call.wav?{SIGNED}").write_bytes(b"as a downloader saved it")
    config = configured(tmp_path, source=f'uri = "s3://calls"\nendpoint_url = "{s3[0]}"')
    with pytest.raises(RunFailedError, match="check"):
        backfill(first=DAY, last=DAY, config=config)
    folder = configured(tmp_path / "folder", source=f'uri = "{s3[1] / "calls"}"')
    (day / "broken.wav").write_bytes(b"junk")
    with pytest.raises(RunFailedError, match="quarantined"):
        backfill(first=DAY, last=DAY, config=folder)
    with open_lake(load_settings(folder).warehouse, read_only=True) as lake:
        ((names,),) = lake.rows("SELECT named_keys FROM runs")
    assert names == [
        f"is no audio: {DAY:%Y/%m/%d}/oslo/call.wav?X-Amz-Algorithm=AWS4&X-Amz-Credential=***&X-Amz-Signature=***"
    ]
    with get_client(sync_client=True) as client:
        stored = [
            *client.read_flow_runs(limit=200),
            *client.read_artifacts(limit=200),
            *client.read_task_runs(limit=200),
        ]
    assert len(stored) >= 4
    assert SECRET not in "".join(each.model_dump_json() for each in stored)
    output = capfd.readouterr()
    assert SECRET not in output.out + output.err
    own = [
        record for record in caplog.records
        # botocore tells the whole of a request to those who ask it for its own debug log
        if not record.name.startswith(("botocore", "boto3", "urllib3"))
    ]  # fmt: skip
    assert own
    assert not [record for record in own if SECRET in record.getMessage()]
    assert holding(tmp_path) == []
