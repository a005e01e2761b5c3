"""Secrets that are replaced while a run is at work: on a real S3 server and in a real PostgreSQL."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_site import DAY, Site
from rotating import rotating

from emolake.demo.encode import write_audio
from emolake.lake.connect import open_lake
from emolake.lake.transact import LakeError
from emolake.pipeline import execution
from emolake.pipeline.run_request import RunRequest
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.source.store import SourceError

CALLS = 3


@pytest.mark.usefixtures("postgres")
def test_a_run_at_work_goes_on_with_replaced_secrets(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The second shard's first try still has the old ones, and fails; the run's own connections are older than both."""
    caplog.set_level("DEBUG", logger="emolake")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with rotating(tmp_path, postgres) as servers:
        for name, value in servers.environment.items():
            monkeypatch.setenv(name, value)
        for number in range(CALLS):
            call = servers.buckets / "calls" / f"{DAY:%Y/%m/%d}" / "oslo" / f"{number}.wav"
            call.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(number).normal(0, 0.1, (16_000, 1)).astype(np.float32)
            write_audio(call, noise, 16_000, "wav")
        sections: dict[str, Any] = servers.configuration
        sections["source"] |= {"lookback_days": 0}
        sections["run"] = {"shard_objects": 1, "parallel_shards": 1, "shard_retry_delay_s": 0.0}
        settings = Site(tmp_path).settings(**sections)
        failed = _with_replaced_secrets(servers, monkeypatch)
        run = execution.run_here(RunRequest("nightly", (DAY,)), settings, logging.getLogger("emolake"))
        assert (run.outcome, run.counts.done, run.counts.quarantined) == ("completed", CALLS, 0)
        assert [type(error) for error in failed] == [SourceError]
        with open_lake(settings.warehouse, read_only=True) as lake:
            assert lake.rows("SELECT count(*), count(DISTINCT run_id) FROM recordings") == [(CALLS, 1)]
            ((rows, days),) = lake.rows(
                "SELECT (FROM segments SELECT count(*)), (FROM daily_emotions SELECT count(*))"
            )
            assert rows >= CALLS
            assert days
            stored = repr(lake.rows("FROM runs"))
        for secret in servers.used:
            assert secret not in stored + caplog.text
        _check_old_are_refused(servers, settings, tmp_path, monkeypatch)


def _with_replaced_secrets(servers: Any, monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Replace the secrets when the second shard begins; return what its first try raises."""
    run_shard, failed, begun = execution.run_shard, list[BaseException](), list[str]()

    def replacing(objects: Any, **arguments: Any) -> Any:
        begun.append(arguments["message"])
        if len(begun) == 2:
            servers.replace_on_servers()
        try:
            return run_shard(objects, **arguments)
        except (SourceError, LakeError) as error:
            failed.append(error)
            servers.replace_in_files()
            raise

    monkeypatch.setattr(execution, "run_shard", replacing)
    return failed


def _check_old_are_refused(
    servers: Any, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = servers.used
    for name in ("aws", "pgpass"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(new, old).replace(new[:8], old[:8]))
    with pytest.raises(SourceError):
        list(open_source(settings.source.uri, settings.source.s3).list(""))
    with pytest.raises(LakeError) as refused, open_lake(settings.warehouse, read_only=True):
        pass
    assert old not in str(refused.value)
