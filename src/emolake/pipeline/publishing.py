"""The published file of a configuration, written when it is asked for and after nightly runs."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from emolake.errors import EmolakeError
from emolake.lake.connect import open_lake
from emolake.lake.disclosure import ALL_DAYS, Disclosure
from emolake.lake.published_file import Published, publish
from emolake.lake.transact import Lake
from emolake.messages import redacted
from emolake.pipeline.runs import Log, Run, note_warnings_if_possible
from emolake.schemas.days import DayRange
from emolake.schemas.tables import Grain
from emolake.settings import Settings


def disclosure(
    settings: Settings, *, include: Collection[str] = (), personal: bool = False, days: DayRange = ALL_DAYS
) -> Disclosure:
    """Return what may leave the lake by a configuration.

    Args:
        settings: say which dimensions name nobody.
        include: what is taken beside summaries: "recordings", "segments".
        personal: whether personal data may.
        days: the days whose rows may.
    """
    return Disclosure(
        frozenset({*settings.open_dimensions, "role", "channel"}),
        frozenset(settings.source.dimension_names()),
        frozenset(map(Grain, include)),
        personal,
        days,
    )


def publish_lake(
    settings: Settings,
    *,
    file: Path | None = None,
    include: Collection[str] | None = None,
    personal: bool | None = None,
    force: bool = False,
) -> Published:
    """Write the published file; what is left out is as [publish] has it.

    Args:
        settings: where the lake lies, and what is published of it.
        file: the file.
        include: what goes in beside summaries.
        personal: whether personal data may go in.
        force: replace whatever file is there.

    Raises:
        PublishError: it cannot be written; the file before is as it was.
        LakeError: the lake cannot be read.
    """
    options = settings.publish
    disclosed = disclosure(
        settings,
        include=options.include if include is None else include,
        personal=options.personal if personal is None else personal,
    )
    path = Path(options.file) if file is None else file
    with open_lake(settings.warehouse, read_only=True) as lake:
        return publish(lake, path, disclosed, memory_mb=settings.maintain.memory_mb, force=force)


def published_again(settings: Settings) -> Published | None:
    """Write the published file again where there is one, so that it holds nothing that the lake has lost.

    Raises:
        EmolakeError: what the lake has lost is still there.
    """
    if not Path(settings.publish.file).is_file():
        return None
    try:
        return publish_lake(settings)
    except (EmolakeError, duckdb.Error) as error:
        raise EmolakeError(
            f"the lake holds nothing of it any more, but {settings.publish.file} may: run `emolake publish`, or remove "
            f"it ({redacted(str(error))})"
        ) from error


@contextmanager
def published_after(run: Run, lake: Lake, log: Log) -> Iterator[None]:
    """Write the published file after the block, if the run is a nightly one and [publish] says so.

    It holds the row of the run as it ended. The night is none the worse where the file cannot be written: a warning of
    the run says so, and the file before stays.
    """
    yield
    if run.request.flow != "nightly" or not run.settings.publish.after_nightly:
        return
    try:
        done = publish_lake(run.settings)
        log.info("published %s: %d tables, %.1f MB", done.path, len(done.tables), done.bytes / 1e6)
    except (EmolakeError, duckdb.Error) as error:
        said = f"the published file was not written, analysts have the one before: {redacted(str(error))}"
        log.warning("%s", said)
        run.warnings.append(said)
        note_warnings_if_possible(run, lake, log)
