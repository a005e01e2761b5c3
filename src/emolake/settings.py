"""The configuration: one TOML file, environment variables over it, every key with a default.

The only file that reads the environment. Relative paths are relative to the configuration file.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from emolake.errors import ConfigurationError
from emolake.pattern import KeyPattern
from emolake.policy import Policy
from emolake.storage import S3Options, without_secrets
from emolake.tasks.fetch import FetchOptions
from emolake.tasks.segment import SegmentOptions

DEFAULT_FILE = Path("emolake.toml")
DEFAULT_MODEL = "default"
_BATCH_S_CPU, _BATCH_S_GPU = 20.0, 160.0


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone is called {name!r}; use an IANA name such as Europe/Berlin"
        ) from error
    return name


def _no_credentials(uri: str) -> str:
    if without_secrets(uri) != uri:
        raise ValueError(
            f"{without_secrets(uri)!r} carries credentials or a query; "
            "give credentials by the AWS chain (environment, profile or role)"
        )
    return uri


# A URI or a path that may be shown.
Uri = Annotated[str, AfterValidator(_no_credentials)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SourceSettings(_Section):
    """Where recordings lie, and how their keys are read."""

    uri: Uri = "recordings"
    """`s3://bucket[/prefix]`, or a folder."""
    pattern: str = "{date:%Y/%m/%d}/{site}/{call_id}.{ext}"
    """How keys are built; {date:…} and {time:…} are strftime, every other name becomes a dimension."""
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """The calendar that days belong to."""
    lookback_days: int = Field(3, ge=0)
    """How many days before the asked one the nightly plans too, for late arrivals."""
    endpoint_url: Uri | None = None
    """URL of an S3-compatible server; credentials come from the usual AWS chain."""
    region: str | None = None
    """Region of the bucket; the AWS chain's when left out."""
    connect_timeout_s: float = Field(10.0, gt=0)
    """How long a connection to the source may take."""
    read_timeout_s: float = Field(60.0, gt=0)
    """How long the source may be silent."""

    @property
    def zone(self) -> ZoneInfo:
        """The calendar's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def s3(self) -> S3Options:
        """How S3 is reached."""
        return S3Options(
            endpoint_url=self.endpoint_url,
            region=self.region,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.read_timeout_s,
        )

    def key_pattern(self) -> KeyPattern:
        """Return the parsed pattern."""
        return KeyPattern(self.pattern, self.zone)


class DecodeSettings(_Section):
    """What decoding one recording may take before the recording is given up."""

    timeout_s: float = Field(120.0, gt=0)
    """How long a decoder may be silent; it is then killed, and its recording quarantined."""
    memory_mb: int = Field(2048, ge=64)
    """Memory that a recording may take in its decoder."""


class InferenceSettings(_Section):
    """Which model runs, and how."""

    model: str = DEFAULT_MODEL
    """Name of a model: `default`, or one of [models.NAME]."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Literal["fp32", "bf16", "fp16", "int8"] = "fp32"
    """Arithmetic of the forward pass."""
    runtime: Literal["auto", "torch", "onnx"] = "auto"
    """What executes the network; auto is onnxruntime on a processor for families that it can run, and else torch."""
    graph_cache: str = ""
    """Folder of the graphs that onnxruntime runs, made of the weights once; `graphs` in EMOLAKE_CACHE when empty."""
    graph_cache_gb: float = Field(10.0, gt=0)
    """Space that the folder may take; graphs unused for longest make room. One has the size of its model's weights."""
    batch_seconds: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Seconds of audio, padding included, that make a batch; auto is what suits the device."""
    store_transcripts: bool = False
    """Keep what was said beside each segment in the lake, of models that write it down: personal data."""

    def seconds_in_batch(self, device: str) -> float:
        """Seconds of audio in a batch on a device.

        A GPU is idle between small batches. A processor is faster on few windows than on many (`bench.limit`), and
        needs less memory for them.
        """
        if self.batch_seconds == "auto":
            return _BATCH_S_CPU if device == "cpu" else _BATCH_S_GPU
        return self.batch_seconds

    @property
    def graph_folder(self) -> Path:
        """Where the graphs lie."""
        return Path(self.graph_cache) if self.graph_cache else _own_cache() / "graphs"


class WarehouseSettings(_Section):
    """Where the lake lies."""

    catalog: str = "sqlite:lake/catalog.sqlite"
    """`sqlite:PATH`, or `postgres:` with a libpq connection string."""
    data: Uri = "lake/data"
    """Folder or `s3://bucket/prefix` of the Parquet files."""
    endpoint_url: Uri | None = None
    """URL of an S3-compatible server for the data; the source's when left out."""
    commit_attempts: int = Field(30, ge=1)
    """How often a transaction that lost against another writer is made again."""


class AggregateSettings(_Section):
    """What the daily table is broken down by."""

    by: tuple[str, ...] = ("site",)
    """Dimensions of daily_emotions."""


class RunSettings(_Section):
    """How a run is cut up, and when it counts as failed."""

    shard_seconds: float = Field(3600.0, gt=0)
    """Audio in a shard, estimated from sizes: the unit of retry and commit."""
    shard_objects: int = Field(200, ge=1)
    """Most recordings in a shard."""
    parallel_shards: int = Field(2, ge=1)
    """Shards that run side by side on this machine."""
    shard_retries: int = Field(2, ge=0)
    """How often a failed shard is tried again."""
    shard_retry_delay_s: float = Field(5.0, ge=0)
    """Pause before a failed shard is tried again."""
    max_bad_share: float = Field(0.5, ge=0, le=1)
    """Share of quarantined recordings above which the run ends as failed, with the good ones committed."""

    heartbeat_s: float = Field(60.0, gt=0)
    """How often a run at work refreshes its row."""
    heartbeat_timeout_s: float = Field(900.0, gt=0)
    """Without a sign of life for so long a running run counts as died; several times heartbeat_s."""

    @model_validator(mode="after")
    def _outlives_a_beat(self) -> Self:
        if self.heartbeat_timeout_s < 2 * self.heartbeat_s:
            raise ValueError(
                f"heartbeat_timeout_s is {self.heartbeat_timeout_s:g} and heartbeat_s is {self.heartbeat_s:g}: a run "
                "that is alive could be taken for dead; raise heartbeat_timeout_s to several times heartbeat_s"
            )
        return self


class GapSettings(_Section):
    """When a day counts as a gap."""

    weeks: int = Field(8, ge=1)
    """Earlier weeks whose same weekday says what is usual."""
    least_share: float = Field(0.5, gt=0, le=1)
    """Share of the usual number of recordings below which a day and its dimensions are a gap."""
    least_usual: int = Field(4, ge=1)
    """Usual number of recordings below which nothing is judged."""


class MaintainSettings(_Section):
    """What `maintain` keeps, and for how long."""

    snapshot_days: float = Field(7.0, gt=0)
    """Days after which a snapshot that is no longer the newest expires: how far back time travel reaches.

    Longer than any query and any commit: whoever still reads a snapshot that expires misses rows, or finds some twice.
    """
    file_hours: float = Field(24.0, gt=0)
    """How long a file that no snapshot needs any more stays for queries that still read it."""
    orphan_hours: float = Field(72.0, gt=0)
    """Age from which a file that the catalog does not know is removed; longer than any shard takes to commit."""
    small_mb: float = Field(64.0, gt=0)
    """Files of a day below this size are merged."""
    rewrite_share: float = Field(0.3, ge=0, le=1)
    """Share of deleted rows above which a file is written anew without them."""
    memory_mb: int = Field(2048, ge=128)
    """Memory that DuckDB may take for it; what is beyond goes to disk."""


class HealthSettings(_Section):
    """When a model counts as degenerate, so that nothing it said is aggregated."""

    min_logit_range: float = Field(0.5, ge=0)
    """Least mean of largest minus smallest logit; a head that never loaded shows about 0.2, a healthy one above 1."""
    min_segments: int = Field(20, ge=1)
    """Labelled segments of a run below which no verdict is given."""


class Settings(BaseSettings):
    """All of the configuration; unknown keys are refused."""

    model_config = SettingsConfigDict(
        env_prefix="EMOLAKE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    source: SourceSettings = SourceSettings()
    fetch: FetchOptions = FetchOptions()
    decode: DecodeSettings = DecodeSettings()
    policy: Policy = Policy()
    segmentation: SegmentOptions = SegmentOptions()
    inference: InferenceSettings = InferenceSettings()
    warehouse: WarehouseSettings = WarehouseSettings()
    aggregate: AggregateSettings = AggregateSettings()
    run: RunSettings = RunSettings()
    health: HealthSettings = HealthSettings()
    gaps: GapSettings = GapSettings()
    maintain: MaintainSettings = MaintainSettings()
    models: dict[str, dict[str, Any]] = {}
    """Named models: `path` of a folder that `emolake train` wrote, or `family` and its own keys."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment variables win over the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            known = self.source.key_pattern().dimensions
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        unknown = [name for name in self.aggregate.by if name not in known]
        if unknown:
            raise ValueError(
                f"aggregate.by names {', '.join(unknown)}, but source.pattern gives "
                f"{', '.join(known) or 'no dimension'}"
            )
        unknown = [name for name in self.policy.exclude if name not in known]
        if unknown:
            raise ValueError(
                f"policy.exclude names {', '.join(unknown)}, but source.pattern gives "
                f"{', '.join(known) or 'no dimension'}; what it rules out would be heard"
            )
        return self


def load_settings(config: Path | None) -> Settings:
    """Read the configuration; without a file the defaults hold, with paths relative to the working folder.

    Raises:
        ConfigurationError: the file is missing or wrong; the message names every wrong key.
    """
    if config is not None and not config.is_file():
        raise ConfigurationError(f"there is no configuration file {config}; `emolake init` writes one")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    # Nested environment variables of a section that is unset would otherwise be taken for unknown sections.
    try:
        settings = FromFile()
    except ValidationError as error:
        raise ConfigurationError(_explained(error, config)) from None  # its own text repeats the values
    except ValueError as error:  # not TOML at all
        raise ConfigurationError(f"{config} is not valid TOML: {error}") from error
    return _with_absolute_paths(settings, config.parent if config else Path())


def _explained(error: ValidationError, config: Path | None) -> str:
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "there is no such key; `emolake init` writes a file with every key"
        problems.append(f"{key}: {message}" if key else message)
    return f"the configuration {f'in {config} ' if config else ''}is wrong: {'; '.join(problems)}"


def _with_absolute_paths(settings: Settings, base: Path) -> Settings:
    base = base.resolve()

    def absolute(path: str) -> str:
        return path if "://" in path else str(base / Path(path).expanduser())

    scheme, _, target = settings.warehouse.catalog.partition(":")
    if scheme not in ("sqlite", "postgres") or not target:
        raise ConfigurationError(
            f"warehouse.catalog starts with {scheme!r}; expected sqlite:PATH or postgres:dbname=… host=…"
        )
    catalog = f"sqlite:{absolute(target)}" if scheme == "sqlite" else settings.warehouse.catalog
    models = {
        name: {key: _found(value, base) if key != "path" else absolute(value) for key, value in entry.items()}
        for name, entry in settings.models.items()
    }
    graphs = settings.inference.graph_cache
    return settings.model_copy(
        update={
            "inference": settings.inference.model_copy(update={"graph_cache": graphs and absolute(graphs)}),
            "source": settings.source.model_copy(update={"uri": absolute(settings.source.uri)}),
            "warehouse": settings.warehouse.model_copy(
                update={"catalog": catalog, "data": absolute(settings.warehouse.data)}
            ),
            "models": models,
        }
    )


def _found(value: Any, base: Path) -> Any:
    """Return a model's value with whatever names a file or folder beside the configuration made absolute.

    The same key may hold an id on the hub, which looks like a relative path.
    """
    if isinstance(value, list):
        return [_found(each, base) for each in value]
    if isinstance(value, str) and value and (base / value).exists():
        return str(base / value)
    return value


def _own_cache() -> Path:
    """Return the folder that EMOLAKE_CACHE names, or ~/.cache/emolake: what can be computed again."""
    return Path(os.environ.get("EMOLAKE_CACHE") or "~/.cache/emolake").expanduser()


def default_config_file() -> Path | None:
    """Return the file that EMOLAKE_CONFIG names, or ./emolake.toml when there is one."""
    named = os.environ.get("EMOLAKE_CONFIG")
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def quiet_prefect() -> None:
    """Keep Prefect's log to what ends a process, and its telemetry at home, unless the environment says otherwise.

    Errors are told once, by the command line. To be called before Prefect is imported.
    """
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # The API that a run brings with itself takes 10 s to start, and longer than Prefect's 20 s on a busy machine.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    os.environ.setdefault("DO_NOT_TRACK", "1")
