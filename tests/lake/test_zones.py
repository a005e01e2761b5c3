"""Times of queries: in the session's zone, with the same rows, snapshots and instants whatever the zone is."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.api import open_lake as open_lake_of
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.query import Format, write_answer
from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.rows import Analysis, shard_rows
from emolake.schemas.records import AnalysisKey, SourceObject
from emolake.schemas.tables import RECORDINGS, TABLES
from emolake.settings import Settings
from emolake.source.access import SourceOptions
from emolake.upkeep.erase import requests_by_condition

pytestmark = pytest.mark.slow

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Auckland", "Pacific/Kiritimati")
BERLIN = ZoneInfo("Europe/Berlin")
FIRST = datetime(2026, 3, 29, 0, 0, tzinfo=BERLIN)  # clocks go forward this night
HOURS = 30


def row(number: int, recorded_at: datetime | None, zone: ZoneInfo) -> dict[str, object]:
    """A recording's row as a run makes it."""
    day = date(2026, 3, 29) if recorded_at is None else recorded_at.astimezone(zone).date()
    item = SourceObject(
        f"{number}.wav", f"s3://calls/{number}.wav", f"{number:032}", "v", 1, day, recorded_at, {}
    )
    rows = shard_rows(
        [Analysis(item)], labels=[], emotions={}, key=AnalysisKey("m", "f", "c"), run_id="r", zone=zone
    )
    found: list[dict[str, object]] = rows.recordings.to_pylist()
    return found[0]


def fill(warehouse: WarehouseOptions) -> None:
    """Thirty hours of a recording an hour, in several files a day, and one without a time."""
    moments = [FIRST.astimezone(UTC) + timedelta(hours=hour) for hour in range(HOURS)]
    made = [row(hour, moment, BERLIN) for hour, moment in enumerate(moments)] + [row(HOURS, None, BERLIN)]
    with open_lake(warehouse) as lake:
        for start in range(0, len(made), 6):
            some = pa.Table.from_pylist(made[start : start + 6], schema=RECORDINGS.schema)
            lake.transact(
                lambda connection, rows=some: append(connection, RECORDINGS, rows),  # type: ignore[misc]
                author="a", message="m", extra={},
            )  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> WarehouseOptions:
    folder = tmp_path_factory.mktemp("lake")
    warehouse = WarehouseOptions(catalog=f"sqlite:{folder / 'c.sqlite'}", data=str(folder / "data"))
    fill(warehouse)
    return warehouse


@pytest.fixture
def berlin(filled: WarehouseOptions) -> Iterator[Lake]:
    with open_lake(filled, read_only=True, timezone="Europe/Berlin") as lake:
        yield lake


def test_hours_and_days_are_those_of_the_zone_and_of_the_stored_columns(berlin: Lake) -> None:
    assert berlin.rows(
        "SELECT count(*) FROM recordings WHERE recorded_at IS NOT NULL AND ("
        "hour(recorded_at) <> hour(recorded_at_local) OR recorded_at::DATE <> date "
        "OR recorded_at_local::DATE <> date OR recorded_at::TIMESTAMP <> recorded_at_local)"
    ) == [(0,)]
    hours = [
        hour for (hour,) in berlin.rows("SELECT hour(recorded_at_local) FROM recordings ORDER BY recorded_at")
    ]
    assert hours[:4] == [0, 1, 3, 4]
    assert berlin.rows("SELECT count(*), count(recorded_at_local) FROM recordings") == [(HOURS + 1, HOURS)]


def test_the_local_column_is_the_same_in_every_session(filled: WarehouseOptions) -> None:
    seen = set()
    for zone in ZONES:
        with open_lake(filled, read_only=True, timezone=zone) as lake:
            seen.add(tuple(lake.rows("SELECT date, recorded_at_local FROM recordings ORDER BY uri")))
    assert len(seen) == 1


def test_every_format_gives_the_same_instants(filled: WarehouseOptions, berlin: Lake, tmp_path: Path) -> None:
    sql = "SELECT recorded_at, recorded_at_local AS local FROM recordings WHERE recorded_at IS NOT NULL ORDER BY 1"

    def text(lake: Lake, format: Format) -> str:
        stream = io.StringIO()
        write_answer(lake, sql, format, stream, None)
        return stream.getvalue()

    expected = [(FIRST.astimezone(UTC) + timedelta(hours=hour)) for hour in range(HOURS)]
    for rows in (json.loads(text(berlin, "json")), list(csv.DictReader(io.StringIO(text(berlin, "csv"))))):
        assert [datetime.fromisoformat(each["recorded_at"]) for each in rows] == expected
        assert rows[2] == {"recorded_at": "2026-03-29T03:00:00+02:00", "local": "2026-03-29T03:00:00"}
    assert "2026-03-29 03:00:00+02:00 │ 2026-03-29 03:00:00" in text(berlin, "table")
    write_answer(berlin, sql, "parquet", io.StringIO(), tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert [moment.astimezone(UTC) for moment in table.column("recorded_at").to_pylist()] == expected
    assert table.column("local").to_pylist()[2] == datetime(2026, 3, 29, 3)
    with duckdb.connect() as plain:
        plain.execute("SET TimeZone = 'UTC'")
        back = plain.execute(f"SELECT recorded_at FROM '{tmp_path / 'a.parquet'}'").fetchall()
    assert [moment for (moment,) in back] == expected


def test_rows_and_snapshots_do_not_depend_on_the_zone(warehouse: WarehouseOptions) -> None:
    """Bounds of files, by which whole files are left out, are texts in the catalog."""
    fill(warehouse)
    moments = [FIRST.astimezone(UTC) + timedelta(hours=hour) for hour in (0, 5, 6, 13, 29)]
    answers = set()
    for zone in ZONES:
        with open_lake(warehouse, read_only=True, timezone=zone) as lake:
            found = [
                lake.rows(
                    f"SELECT count(*) FROM recordings WHERE recorded_at {sign} $moment", {"moment": moment}
                )
                for sign in ("<", "=", ">=")
                for moment in moments
            ]
            taken = lake.rows("SELECT snapshot_time FROM snapshots() ORDER BY snapshot_id")
            found += [
                lake.rows(
                    f"SELECT count(*) FROM recordings AT (TIMESTAMP => TIMESTAMPTZ '{moment.isoformat()}')"
                )
                for (moment,) in taken[2:]
            ]
        answers.add(str(found))
    assert len(answers) == 1
    counts = [count for ((count,),) in found]
    assert counts[:5] == [0, 5, 6, 13, 29]
    assert counts[5:10] == [1] * 5
    assert counts[15:] == [6, 12, 18, 24, 30, 31]


@given(
    zone=st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"})),
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
)
def test_the_local_time_is_the_wall_clock_of_the_recordings_day(zone: str, moment: datetime) -> None:
    made = row(0, moment, ZoneInfo(zone))
    local = made["recorded_at_local"]
    assert isinstance(local, datetime)
    assert local.tzinfo is None
    assert local.date() == made["date"]
    offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    assert local - offset == moment.replace(tzinfo=None)


def test_a_writer_is_in_utc_and_an_unknown_zone_is_a_wrong_configuration(filled: WarehouseOptions) -> None:
    with open_lake(filled, timezone="Europe/Berlin") as lake:
        assert lake.rows("SELECT current_setting('TimeZone')") == [("UTC",)]
    with (
        pytest.raises(ConfigurationError, match=r"set source\.timezone to an IANA name"),
        open_lake(filled, read_only=True, timezone="localtime"),
    ):
        pass


def test_the_api_and_conditions_of_erasures_are_in_the_configured_zone(filled: WarehouseOptions) -> None:
    settings = Settings(warehouse=filled, source=SourceOptions(timezone="Europe/Berlin"))
    with open_lake_of(settings) as lake:
        assert lake.rows("SELECT current_setting('TimeZone')") == [("Europe/Berlin",)]
    found = requests_by_condition(settings, "hour(recorded_at) = 3 AND date = '2026-03-29'")
    assert [each.uri for each in found] == ["s3://calls/2.wav"]


def test_no_table_is_partitioned_by_what_a_zone_could_change() -> None:
    for table in TABLES:
        types = {column.name: column.sql_type for column in table.columns}
        assert {types[name] for name in table.partition_by} <= {"DATE", "INTEGER"}
