"""Whether everything that a nightly run needs is there, and the remedy where it is not."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from itertools import islice
from pathlib import Path

import numpy as np

from emolake.demo.mood_voices import mood_voice
from emolake.errors import EmolakeError
from emolake.lake.connect import lake_if_any
from emolake.messages import counted
from emolake.models.health_gate import judge
from emolake.models.registry import ModelEntry
from emolake.models.restriction import labels_line
from emolake.models.runtimes.devices import resolve_device
from emolake.pipeline.loaded_models import loaded_model, speech_detector
from emolake.report.signals import has_signals, odd_signals
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.sql import statement
from emolake.tasks.classify import Engine
from emolake.tasks.segment import SegmentOptions
from emolake.upkeep.data_store import open_data_store
from emolake.upkeep.source_sample import Sample, matched_keys, sampled, tried_recordings

_LEAST_FREE_GB = 2.0
_VOICES = 12
_DAYS_OF_SIGNALS = 28


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `detail` says what was found, and the remedy when it is not well."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings, model: str | None = None) -> Iterator[Check]:
    """Yield the checks as they are made; one that fails does not end the rest.

    None changes source or lake; the graph of a model that is run as one is made where it is missing."""

    @cache
    def entry() -> ModelEntry:  # one for both checks: its fingerprint reads every byte of the weights
        return settings.registry.entry(model)

    @cache
    def sample() -> Sample:
        return sampled(settings)

    checks: dict[str, Callable[[], str]] = {
        "source": lambda: _source(settings),
        "pattern": lambda: matched_keys(settings, sample()),
        "listing": lambda: _listing(settings),
        "catalog": lambda: _catalog(settings),
        "data": lambda: _data(settings),
        "signals": lambda: _signals(settings),
        "device": lambda: _device(settings),
        "model": lambda: _model(settings, entry()),
        "model health": lambda: _model_health(settings, entry()),
        "recordings": lambda: tried_recordings(settings, entry(), sample()),
        "voice activity": _voice_activity,
        "scratch": _scratch,
        "engine": lambda: _engine(settings),
    }
    for name, check in checks.items():
        try:
            yield Check(name, True, check())
        except EmolakeError as error:
            yield Check(name, False, str(error))


def _source(settings: Settings) -> str:
    source = open_source(settings.source.uri, settings.source.s3)
    prefixes = list(islice(source.list_prefixes(""), 3))
    shown = ", ".join(prefixes) or "no folders at its top"
    return f"{source.uri} can be listed: {shown}{' …' if len(prefixes) == 3 else ''}"


def _listing(settings: Settings) -> str:
    """Return what a day's listing costs beyond the day itself."""
    notes = settings.source.key_pattern().notes
    return "; ".join(notes) or "a day is listed by prefixes of its own"


def _catalog(settings: Settings) -> str:
    catalog = settings.warehouse.parsed_catalog
    with lake_if_any(settings.warehouse) as lake:
        if lake is None:
            return f"{catalog.where} is not there yet; the first run makes it"
        ((recordings,),) = lake.answered_rows(statement("count_recordings"))
        return f"{catalog.kind} catalog at snapshot {lake.latest_snapshot()}, {recordings} recordings"


def _signals(settings: Settings) -> str:
    """Say what is odd of the recordings of the last days in the lake; it may be meant so, and is no failure."""
    with lake_if_any(settings.warehouse) as lake:
        if lake is None:
            return "nothing was analysed yet"
        if not has_signals(lake):
            return "nothing was measured yet; the next run does it"
        ((last,),) = lake.answered_rows(statement("last_day"))
        if last is None:
            return "nothing was analysed yet"
        first = last - timedelta(days=_DAYS_OF_SIGNALS - 1)
        odd = lake.answer(partial(odd_signals, lake, first=first, last=last))
    if not odd:
        return f"nothing is odd of the recordings of {first} to {last}"
    listed = "; ".join(
        f"{each.note} in {counted(each.recordings, 'recording')} ({each.meaning}), for example {each.example}"
        for each in odd
    )
    return f"{first} to {last}: {listed}"


def _data(settings: Settings) -> str:
    data = settings.warehouse.data
    if settings.warehouse.is_on_s3:
        next(iter(open_data_store(settings).list_prefixes("")), None)
        return f"{data} can be listed"
    folder = _nearest(Path(data))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise EmolakeError(
            f"{folder} cannot be written ({error.strerror}); correct warehouse.data or its permissions"
        ) from error
    return f"{data}, {_free_gb(folder):.0f} GB free"


def _device(settings: Settings) -> str:
    device = resolve_device(settings.inference.device)
    return f"{device} (inference.device is {settings.inference.device})"


def _model(settings: Settings, entry: ModelEntry) -> str:
    model = loaded_model(entry, settings.inference)
    return (
        f"{entry.name}: {entry.family} in {model.precision} on {entry.runtime(settings.inference)}, "
        f"fingerprint {entry.fingerprint[:12]}, labels {labels_line(model.labels, outputs=entry.outputs)}, "
        f"{_uncertain(settings, entry)}"
    )


def _uncertain(settings: Settings, entry: ModelEntry) -> str:
    """Say what marks a label as uncertain, and who decided it."""
    below = entry.abstain_below(settings.inference)
    if settings.inference.abstain_below != "auto":
        source = "inference.abstain_below"
    else:
        source = "as the model recommends" if below else "the model recommends no value"
    return f"uncertain below {below:g} ({source})" if below else f"none marked uncertain ({source})"


def _model_health(settings: Settings, entry: ModelEntry) -> str:
    """Compare the model's logits for a few synthesised voices with the floor that a run is judged by."""
    model = loaded_model(entry, settings.inference)
    engine = Engine(model, int(settings.inference.seconds_in_batch(model.device) * model.sampling_rate))
    scores = engine.scores([mood_voice(number, model.sampling_rate) for number in range(_VOICES)])
    ranges = [each.logit_range for each in scores if each.best is not None]
    if not ranges:
        return "the model gives synthesised speech no label, so its logits cannot be judged here"
    floor = settings.health.model_copy(update={"min_segments": 1})
    health = judge(len(ranges), sum(ranges) / len(ranges), floor)
    if health.verdict == "flat":
        raise EmolakeError(f"{entry.name} is degenerate: {health.detail}")
    return health.detail


def _voice_activity() -> str:
    detector = speech_detector()
    probabilities = detector.stream().push(np.zeros(detector.sampling_rate, np.float32))
    if probabilities.max() >= SegmentOptions().vad_threshold:
        raise EmolakeError("Silero finds speech in digital silence; install the package silero-vad again")
    return "Silero finds no speech in digital silence"


def _scratch() -> str:
    folder = Path(tempfile.gettempdir())
    free = _free_gb(folder)
    if free < _LEAST_FREE_GB:
        raise EmolakeError(
            f"{folder} has {free:.1f} GB free, expected {_LEAST_FREE_GB:g}; set TMPDIR to a larger disk"
        )
    return f"{folder}, {free:.0f} GB free for downloads under way"


def _engine(settings: Settings) -> str:
    if not settings.engine.is_ray:
        return (
            f"local: {counted(settings.run.parallel_shards, 'shard')} side by side in threads of this machine"
        )
    from emolake.pipeline.ray_cluster import describe_cluster

    return describe_cluster(settings.engine)


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    while not path.is_dir():
        path = path.parent
    return path


def _free_gb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 1e9
