"""What a process loads once: its models, and the detector of voice activity."""

from functools import cache
from threading import Lock

from emolake.audio.voice_activity import SpeechDetector
from emolake.errors import EmolakeError
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import EmotionModel
from emolake.models.registry import ModelChangedError, ModelEntry
from emolake.models.runtimes.allocator import keep_freed_blocks
from emolake.pipeline.identity import analysis_key
from emolake.schemas.records import AnalysisKey
from emolake.settings import Settings

_loading = Lock()


def loaded_model(entry: ModelEntry, inference: InferenceOptions) -> EmotionModel:
    """Return the model, loaded once per process; a changed file is another model.

    From then on `entry.runtime` is what executes it: what `auto` means is settled here, and is loaded by name.
    """
    with _loading:
        entry.prepare(inference)
        # What only says how its answers are read is no reason to load it again.
        settled = inference.model_copy(update={"runtime": entry.runtime(inference), "abstain_below": "auto"})
        return _loaded(entry, entry.fingerprint, settled)


@cache
def _loaded(entry: ModelEntry, fingerprint: str, inference: InferenceOptions) -> EmotionModel:
    keep_freed_blocks()
    model = entry.load(inference)
    entry.check_unchanged()
    return model


def planned_model(settings: Settings, key: AnalysisKey) -> ModelEntry:
    """Return the model that a shard was planned with, which is loaded by then.

    Raises:
        ModelChangedError: the model's files are no longer those of the plan.
        EmolakeError: the configuration would give rows of another config_id here.
    """
    entry = settings.registry.entry(key.model)
    if entry.fingerprint != key.model_fingerprint:
        raise ModelChangedError(
            f"the files of the model {key.model!r} were changed while the run was under way; run again"
        )
    loaded_model(entry, settings.inference)  # which settles the runtime that is a part of the key
    if analysis_key(settings, entry) != key:
        raise EmolakeError(
            "the configuration was changed while the run was under way, or means another runtime on the machine of "
            "this shard than where the run was planned; run again, or set inference.runtime and inference.device"
        )
    return entry


@cache
def speech_detector() -> SpeechDetector:
    """Return the process' voice-activity detector."""
    return SpeechDetector()
