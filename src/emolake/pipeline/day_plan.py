"""What a run does of one day: its shards, wave by wave, and the marks of recordings that are gone or back."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import islice

from emolake import telemetry
from emolake.lake.transact import Lake
from emolake.models.runtimes.devices import resolve_device
from emolake.pipeline import run_progress
from emolake.pipeline.presence import Presence
from emolake.pipeline.quarantine import quarantined
from emolake.pipeline.runs import Log, Run
from emolake.pipeline.scheduling import PlannedShard, Wave
from emolake.pipeline.timings import Timings
from emolake.schemas.days import DayRange
from emolake.schemas.records import Listing, SourceObject
from emolake.source.enrichment import enrichment
from emolake.source.opening import open_source
from emolake.tasks.plan import PlannedChunk, plan_day, shards

# Shards of a wave for each that runs beside others: waves keep the plan of a very large day out of memory.
_SHARDS_AHEAD = 16


def waves_of_day(
    run: Run, lake: Lake, day: date, log: Log, raise_interrupt: Callable[[], None]
) -> Iterator[Wave]:
    """Yield the day's shards wave by wave, to be taken up again when half of the wave have ended.

    The run's row is written before its first shard, or its first mark, so that their commits can name it.
    `raise_interrupt` raises what has interrupted the run, if anything has; it is called between chunks of the listing.

    Raises:
        SourceError: the day cannot be listed.
    """
    settings, pattern = run.settings, run.settings.source.key_pattern()
    source = open_source(settings.source.uri, settings.source.s3)
    retried = run.request.retried
    only = None
    if retried is not None:
        only = {each.recording_id for each in quarantined(lake, DayRange(day, day), retried)}
    presence = Presence(lake, source, pattern, day)
    chunks = plan_day(
        source,
        pattern,
        lake,
        day,
        key=run.key,
        policy=settings.policy,
        force=run.request.replaces,
        only=only,
        beyond=enrichment(source, settings.source),
    )
    work = _noted(run, presence, day, chunks, raise_interrupt)
    cut = shards(work, shard_seconds=settings.run.shard_seconds, shard_objects=settings.run.shard_objects)
    numbered = (PlannedShard(day, number, objects) for number, objects in enumerate(cut, 1))
    while wave := list(islice(numbered, _SHARDS_AHEAD * settings.shards_at_once)):
        if run.device is None:  # looked for only where there is work: a library of seconds is loaded for it
            run.device = resolve_device(settings.inference.device)
        if not run.recorded:
            run.record(lake)
        run_progress.expect(str(day), sum(len(shard.objects) for shard in wave))
        yield wave
    deleted, reappeared = presence.settle(run.run_id)
    if deleted or reappeared:
        if not run.recorded:
            run.record(lake)
        log.info("%s: %d recordings are no longer at the source, %d are back", day, deleted, reappeared)


def _noted(
    run: Run,
    presence: Presence,
    day: date,
    chunks: Iterable[PlannedChunk],
    raise_interrupt: Callable[[], None],
) -> Iterator[SourceObject]:
    """Yield the day's work; what was listed beside it goes to the run's figures and to the presence."""
    of_day, timings = Listing(), Timings()
    for chunk in timings.of("plan", chunks):
        run.list_more(chunk.figures)
        of_day += chunk.figures
        presence.see(chunk.listed)
        raise_interrupt()
        yield from chunk.work
    telemetry.observe("emolake.planning", timings.seconds["plan"])
    run.whole_listings[day] = of_day
