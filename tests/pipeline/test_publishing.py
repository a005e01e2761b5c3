"""The published file after a nightly run: it shows the run as it ended, and never harms it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from emolake.cli.upkeep_commands import _publish_again
from emolake.errors import ConfigurationError, EmolakeError
from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake, LakeError
from emolake.lake.warehouse import PublishOptions
from emolake.pipeline.publishing import publish_lake, published_after
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.runs import Run, recorded
from emolake.settings import Settings, load_settings

from made_lake import DAY, KEY, sqlite_warehouse

_log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(warehouse=sqlite_warehouse(tmp_path_factory.mktemp("lake")))


@pytest.fixture(scope="module")
def lake(settings: Settings) -> Iterator[Lake]:
    with open_lake(settings.warehouse) as lake:
        yield lake


def publishing(settings: Settings, file: Path, after_nightly: bool = True) -> Settings:
    options = PublishOptions(file=str(file), after_nightly=after_nightly)
    return settings.model_copy(update={"publish": options})


def night(lake: Lake, settings: Settings, flow: str = "nightly") -> Run:
    run = Run(RunRequest(flow, (DAY,)), KEY, settings)
    run.is_notable = True
    with published_after(run, lake, _log), recorded(run, lake, _log):
        pass
    return run


def of_run(lake: Lake, run: Run) -> tuple[str, list[str]]:
    ((outcome, warnings),) = lake.rows(
        "SELECT outcome, warnings FROM runs WHERE run_id = $run", {"run": run.run_id}
    )
    return outcome, warnings


def test_the_file_shows_the_night_as_it_ended(lake: Lake, settings: Settings, tmp_path: Path) -> None:
    run = night(lake, publishing(settings, tmp_path / "a.duckdb"))
    with duckdb.connect(str(tmp_path / "a.duckdb"), read_only=True) as file:
        asked = "SELECT outcome FROM runs WHERE run_id = $run"
        assert file.execute(asked, {"run": run.run_id}).fetchall() == [("completed",)]
    assert of_run(lake, run) == ("completed", [])


@pytest.mark.parametrize(("after_nightly", "flow"), [(False, "nightly"), (True, "backfill"), (True, "retry")])
def test_it_is_written_after_nightly_runs_where_that_is_configured(
    lake: Lake, settings: Settings, tmp_path: Path, after_nightly: bool, flow: str
) -> None:
    night(lake, publishing(settings, tmp_path / "a.duckdb", after_nightly), flow)
    assert not (tmp_path / "a.duckdb").exists()


def test_a_file_that_cannot_be_written_is_a_warning_and_the_old_one_stays(
    lake: Lake, settings: Settings, tmp_path: Path
) -> None:
    mine = tmp_path / "notes.txt"
    mine.write_text("mine")
    for place in (mine, mine / "a.duckdb", tmp_path):
        run = night(lake, publishing(settings, place))
        outcome, (warning,) = of_run(lake, run)
        assert outcome == "completed"
        assert not run.failures
        assert warning.startswith("the published file was not written, analysts have the one before: ")
        assert warning in run.summary["warnings"]  # type: ignore[operator]
    assert mine.read_text() == "mine"


def test_the_warning_changes_nothing_else_of_the_row(lake: Lake, settings: Settings, tmp_path: Path) -> None:
    run = Run(RunRequest("nightly", (DAY,)), KEY, publishing(settings, tmp_path))
    run.is_notable = True
    asked = "SELECT * EXCLUDE (warnings) FROM runs WHERE run_id = $run"
    with published_after(run, lake, _log):
        with recorded(run, lake, _log):
            pass
        before = lake.rows(asked, {"run": run.run_id})
    assert lake.rows(asked, {"run": run.run_id}) == before
    assert len(of_run(lake, run)[1]) == 1


@pytest.mark.parametrize(
    "error",
    [
        LakeError("the catalog does not answer"),
        duckdb.IOException("no such host"),
        duckdb.TransactionException("x"),
        duckdb.ConnectionException("closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lake_that_is_gone_when_the_night_has_ended_is_no_error_of_it(
    lake: Lake,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise error

    run = Run(RunRequest("nightly", (DAY,)), KEY, publishing(settings, tmp_path))
    run.is_notable = True
    with caplog.at_level(logging.WARNING), published_after(run, lake, _log):
        with recorded(run, lake, _log):
            pass
        monkeypatch.setattr(Lake, "transact", gone)
    monkeypatch.undo()
    assert run.outcome == "completed"
    assert "does not take the run's last warning" in caplog.text
    assert of_run(lake, run) == ("completed", [])


def test_a_run_that_broke_publishes_nothing(lake: Lake, settings: Settings, tmp_path: Path) -> None:
    run = Run(RunRequest("nightly", (DAY,)), KEY, publishing(settings, tmp_path / "a.duckdb"))
    with pytest.raises(RuntimeError), published_after(run, lake, _log), recorded(run, lake, _log):
        raise RuntimeError("broken")
    assert not (tmp_path / "a.duckdb").exists()


def test_what_is_erased_leaves_the_published_file_too(lake: Lake, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    settings = publishing(settings, path)
    _publish_again(settings)
    assert not path.exists(), "there was none"
    publish_lake(settings)
    with duckdb.connect(str(path)) as file:
        file.execute("DELETE FROM published")
    _publish_again(settings)
    with duckdb.connect(str(path), read_only=True) as file:
        assert len(file.execute("FROM published").fetchall()) == 1
    path.write_text("another")
    with pytest.raises(
        EmolakeError, match=r"holds nothing of it any more, but .*a\.duckdb may: run `emolake publish`"
    ):
        _publish_again(settings)


def test_the_file_lies_beside_the_configuration_and_dimensions_must_be_known(tmp_path: Path) -> None:
    config = tmp_path / "emolake.toml"
    config.write_text('[publish]\nafter_nightly = true\ndimensions = ["call_id"]\n')
    settings = load_settings(config)
    assert settings.publish.file == str(tmp_path / "analytics.duckdb")
    assert settings.open_dimensions == {"site", "call_id"}
    config.write_text('[publish]\ndimensions = ["queue"]\n')
    with pytest.raises(ConfigurationError, match="publish.dimensions names queue"):
        load_settings(config)
