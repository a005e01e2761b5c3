"""What makes two results comparable: the hash of all that changes a number, and the versions that were at work."""

import hashlib
import json
from importlib.metadata import version
from typing import Any

from emolake.messages import redacted
from emolake.models.registry import ModelEntry
from emolake.schemas.records import AnalysisKey
from emolake.settings import Settings

# Raise it with every change of the program that changes results for the same configuration.
PIPELINE_VERSION = 2

# Precisions that are computed otherwise than under the name alone before; the ids of the others stay.
_PRECISIONS = {
    "bf16": "bf16, fp32 in norms, sums and behind the encoder",
    "int8": "int8 row by row, bf16 in attention and convolutions",
}

_PACKAGES = (
    "emolake",
    "torch",
    "numpy",
    "soxr",
    "soundfile",
    "av",
    "onnxruntime",
    "silero-vad",
    "duckdb",
    "prefect",
)


def analysis_key(settings: Settings, model: ModelEntry) -> AnalysisKey:
    """Return the name, fingerprint and config_id that this configuration's rows have on this machine."""
    decides: dict[str, object] = {
        "pipeline": PIPELINE_VERSION,
        "segmentation": settings.segmentation.model_dump(mode="json"),
        "voice_activity": version("silero-vad"),
        "model": model.fingerprint,
        "precision": _PRECISIONS.get(settings.inference.precision, settings.inference.precision),
        "runtime": model.runtime(settings.inference),
        "excluded_channels": sorted(set(settings.policy.exclude_channels)),
        "headerless_rates": settings.decode.headerless_rates,
        "transcripts": settings.inference.store_transcripts,
        **_roles(settings),
    }
    if abstain_below := model.abstain_below(settings.inference):
        decides["abstain_below"] = abstain_below  # 0 marks nothing, and leaves the ids of earlier versions
    canonical = json.dumps(decides, sort_keys=True, separators=(",", ":"))
    return AnalysisKey(
        model=model.name,
        model_fingerprint=model.fingerprint,
        config_id=hashlib.sha256(canonical.encode()).hexdigest()[:16],
    )


def _roles(settings: Settings) -> dict[str, object]:
    """Return what decides a role, and whether it is scored; nothing where there are no roles."""
    if not settings.roles.are_named:
        return {}
    return {
        "roles": settings.roles.model_dump(mode="json"),
        "scores_people_at_work": settings.policy.purpose is not None,
    }


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that change numbers."""
    return {name: version(name) for name in _PACKAGES}


def options_json(settings: Settings) -> str:
    """Return the resolved options as JSON, without the parts that are there for places, and secrets in any other."""
    stored = settings.model_dump_json(
        exclude={
            "source": {"uri", "endpoint_url", "manifest"},
            "warehouse": True,
            "models": True,
            "engine": {"address"},
            "alerts": {"urls", "urls_file"},
            "telemetry": {"otlp_endpoint"},
        }
    )
    return json.dumps(_without_secrets(json.loads(stored)), separators=(",", ":"), ensure_ascii=False)


def _without_secrets(value: Any) -> Any:
    """Return a value of JSON whose texts are redacted."""
    if isinstance(value, dict):
        return {redacted(key): _without_secrets(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    return redacted(value) if isinstance(value, str) else value
