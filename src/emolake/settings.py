"""The configuration: one TOML file, files of secrets and environment variables over it, every key with a default.

Each part declares its own options; those of parts that import this module are declared here. Relative paths are
relative to the configuration file.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from emolake.engine_options import EngineOptions
from emolake.environment import DEFAULT_CONFIG_FILE, default_config_file, secrets_folder
from emolake.errors import ConfigurationError
from emolake.lake.warehouse import AggregateOptions, Catalog, PublishOptions, WarehouseOptions
from emolake.messages import validation_problems
from emolake.models.health_gate import HealthOptions
from emolake.models.inference import InferenceOptions
from emolake.models.registry import Registry
from emolake.options import Options
from emolake.output.alerts import AlertOptions
from emolake.output.logs import LogOptions
from emolake.run_options import RunOptions
from emolake.source.access import SourceOptions
from emolake.source.policy import Policy
from emolake.source.roles import Roles
from emolake.tasks.drift_options import DriftOptions
from emolake.tasks.fetch import FetchOptions
from emolake.tasks.segment import SegmentOptions
from emolake.telemetry import TelemetryOptions

if TYPE_CHECKING:
    from emolake.tasks.decode import DecodeOptions


def _usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class DecoderLimits(Options):
    """How recordings are decoded, and what one may take before it is given up; the keys of [decode]."""

    timeout_s: float = Field(120.0, gt=0)
    """How long a decoder may be silent; it is then killed, and its recording quarantined."""
    processes: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Decoders that run side by side in a process, at least one for each shard at work; "auto" is one for each core."""
    memory_mb: int = Field(2048, ge=64)
    """Memory that a recording may take in its decoder."""
    unpacked_mb: int = Field(2048, ge=1)
    """Disk that a recording may take once it is unpacked from gzip."""
    headerless_rates: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    """Sampling rates in Hz of files without a header, by extension: `ulaw`, `alaw` and `sln` are taken to have 8000,
    `g722` 16000, and `sln16` and the like what they are named after."""

    @property
    def at_once(self) -> int:
        """How many decoders run side by side, shards apart that have none."""
        return _usable_cores() if self.processes == "auto" else self.processes

    @property
    def options(self) -> "DecodeOptions":
        """What the decoder is given."""
        from emolake.tasks.decode import (
            DecodeOptions,  # with decoders, which no command that only asks should load
        )

        return DecodeOptions(unpacked_mb=self.unpacked_mb, headerless_rates=self.headerless_rates)

    @field_validator("headerless_rates")
    @classmethod
    def _of_known_endings(cls, rates: dict[str, int]) -> dict[str, int]:
        from emolake.audio.containers.formats import headerless_extensions

        known = headerless_extensions()
        unknown = sorted(rates.keys() - set(known))
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)} is no ending of files without a header; they are {', '.join(known)}"
            )
        return rates


class GapOptions(Options):
    """When a day counts as a gap."""

    weeks: int = Field(8, ge=1)
    """Earlier weeks whose same weekday says what is usual."""
    least_share: float = Field(0.5, gt=0, le=1)
    """Share of the usual number of recordings below which a day and its dimensions are a gap."""
    least_usual: int = Field(4, ge=1)
    """Usual number of recordings below which nothing is judged."""


class StatusOptions(Options):
    """What `status` finds wrong."""

    late_hours: float = Field(12.0, gt=0)
    """Hours after the end of a day from when on it is late, unless a run has taken it up."""


class MaintainOptions(Options):
    """What `maintain` keeps, and for how long."""

    snapshot_days: float = Field(7.0, ge=1 / 86_400)
    """Days from when a snapshot was seen followed by another one until it expires: how far back time travel reaches.

    Longer than any query; a second at least, and below an hour `maintain` warns. Whoever still reads a snapshot that
    expires with a program of their own misses rows, or finds some twice; emolake notices, and asks again.
    """
    file_hours: float = Field(24.0, gt=0)
    """How long a file that no snapshot needs any more stays for queries that still read it."""
    orphan_hours: float = Field(72.0, gt=0)
    """Age from which a file that the catalog does not know is removed; longer than any shard takes to commit."""
    small_mb: float = Field(64.0, gt=0)
    """Files of a day below this size are merged."""
    rewrite_share: float = Field(0.3, ge=0, le=1)
    """Share of deleted rows above which a file is written again without them."""
    memory_mb: int = Field(2048, ge=128)
    """Memory that DuckDB may take for it; what is beyond goes to disk."""


class Settings(BaseSettings):
    """All of the configuration; unknown keys are refused."""

    model_config = SettingsConfigDict(
        env_prefix="EMOLAKE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    source: SourceOptions = SourceOptions()
    fetch: FetchOptions = FetchOptions()
    decode: DecoderLimits = DecoderLimits()
    policy: Policy = Policy()
    roles: Roles = Roles()
    segmentation: SegmentOptions = SegmentOptions()
    inference: InferenceOptions = InferenceOptions()
    warehouse: WarehouseOptions = WarehouseOptions()
    aggregate: AggregateOptions = AggregateOptions()
    publish: PublishOptions = PublishOptions()
    run: RunOptions = RunOptions()
    engine: EngineOptions = EngineOptions()
    health: HealthOptions = HealthOptions()
    gaps: GapOptions = GapOptions()
    drift: DriftOptions = DriftOptions()
    status: StatusOptions = StatusOptions()
    logs: LogOptions = LogOptions()
    alerts: AlertOptions = AlertOptions()
    telemetry: TelemetryOptions = TelemetryOptions()
    maintain: MaintainOptions = MaintainOptions()
    models: dict[str, dict[str, Any]] = {}
    """Named models: `path` of a folder that `emolake train` wrote, or `family` and its own keys."""

    @property
    def registry(self) -> Registry:
        """The models that can be named."""
        return Registry(self.models, self.inference.model)

    @property
    def shards_at_once(self) -> int:
        """How many shards run side by side."""
        return self.engine.workers if self.engine.is_ray else self.run.parallel_shards

    @property
    def _own_columns(self) -> dict[str, str]:
        """Columns of segments that the daily table can be broken down by, by their names in `aggregate.by`.

        A dimension of the same name comes first.
        """
        names = ("channel", "role") if self.roles.are_named else ("channel",)
        return {name: f"segments.{name}" for name in names if name not in self.source.dimension_names()}

    @property
    def breakdown(self) -> tuple[str, ...]:
        """What the daily table is broken down by: dimensions, and `segments.channel` and `segments.role`.

        Where there are roles, `segments.role` is always among them.
        """
        roles = ("role",) if self.roles.are_named else ()
        own = self._own_columns
        return tuple(own.get(name, name) for name in dict.fromkeys((*self.aggregate.by, *roles)))

    @property
    def recording_breakdown(self) -> tuple[str, ...]:
        """What recordings are counted by: the dimensions of `aggregate.by`."""
        return tuple(name for name in self.aggregate.by if name not in self._own_columns)

    @property
    def open_dimensions(self) -> frozenset[str]:
        """The dimensions that name nobody, as far as the configuration says so."""
        return frozenset({*self.recording_breakdown, *self.publish.dimensions})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let environment variables win over files of secrets, and those over the configuration file."""
        secrets = NestedSecretsSettingsSource(
            file_secret_settings, secrets_dir=secrets_folder(), secrets_dir_missing="error"
        )
        return init_settings, env_settings, secrets, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            pattern = self.source.key_pattern()
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        if self.source.date_from is not None and not pattern.is_undated:
            raise ValueError(
                "source.date_from is given, and every pattern has a date of its own; leave one of them out"
            )
        twice = [name for name in self.source.dimensions if name in pattern.dimensions]
        if twice:
            raise ValueError(
                f"source.dimensions names {', '.join(twice)}, which source.pattern gives; rename one of them"
            )
        known = self.source.dimension_names()
        unknown = [name for name in self.aggregate.by if name not in (*known, *self._own_columns)]
        if unknown == ["role"]:
            raise ValueError("aggregate.by names role, and [roles] names none; name the channels there")
        if unknown:
            raise ValueError(
                f"aggregate.by names {', '.join(unknown)}, but source.pattern gives "
                f"{', '.join(known) or 'no dimension'}"
            )
        unknown = [name for name in self.publish.dimensions if name not in known]
        if unknown:
            raise ValueError(
                f"publish.dimensions names {', '.join(unknown)}, but source.pattern gives "
                f"{', '.join(known) or 'no dimension'}"
            )
        unknown = [name for name in self.policy.exclude if name not in known]
        if unknown:
            raise ValueError(
                f"policy.exclude names {', '.join(unknown)}, but source.pattern gives "
                f"{', '.join(known) or 'no dimension'}; what it rules out would be analysed"
            )
        if self.roles.are_named:
            self._check_roles(known)
        return self

    def _check_roles(self, known: Sequence[str]) -> None:
        if self.segmentation.channels == "mix":
            raise ValueError(
                '[roles] names channels, and segmentation.channels is "mix", which makes one of them; set it to '
                '"split", or to the list of channels to analyse'
            )
        if "role" in known:
            raise ValueError(
                "the source gives a dimension role, which is what [roles] gives every segment; rename the dimension"
            )
        unknown = [name for layout in self.roles.layouts for name in layout.where if name not in known]
        if unknown:
            raise ValueError(
                f"roles.layouts names {', '.join(unknown)}, but source.pattern gives "
                f"{', '.join(known) or 'no dimension'}; its channels would be taken for those of [roles]"
            )


def load_settings(config: Path | None = None) -> Settings:
    """Read the configuration; where there is no file the defaults hold, with paths relative to the working folder.

    Args:
        config: the file; when left out the one that EMOLAKE_CONFIG names, or ./emolake.toml when there is one.

    Raises:
        ConfigurationError: the file or the secrets are missing or wrong; the message names every wrong key.
    """
    config = config or default_config_file()
    if config is not None and config.is_dir():
        raise ConfigurationError(
            f"the configuration {config} is a folder; give the file, such as {config / DEFAULT_CONFIG_FILE}"
        )
    if config is not None and not config.is_file():
        raise ConfigurationError(f"there is no configuration file {config}; `emolake init` writes one")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    # Nested environment variables of a section that is unset would otherwise be taken for unknown sections.
    try:
        settings = FromFile()
    except ValidationError as error:
        problems = validation_problems(error, unknown="`emolake init` writes a file with every key")
        where = f"in {config} " if config else ""
        # Without its cause, whose own text repeats the values.
        raise ConfigurationError(f"the configuration {where}is wrong: {problems}") from None
    except SettingsError as error:
        where = f"EMOLAKE_SECRETS is {secrets_folder()}, whose files cannot be read as secrets"
        raise ConfigurationError(f"{where}: {error}") from error
    except ValueError as error:  # not TOML at all
        raise ConfigurationError(f"{config} is not valid TOML: {error}") from error
    return _resolved(settings, (config.parent if config else Path()).resolve())


# Keys of [models.NAME] whose values are words, even where a folder beside the configuration has the same name.
_WORDS = {"family", "labels", "classes", "members"}


def _resolved(settings: Settings, base: Path) -> Settings:
    """Make relative paths absolute, and fill in what one section takes from another."""

    def absolute(path: str) -> str:
        return path if "://" in path else str(base / Path(path).expanduser())

    catalog = settings.warehouse.parsed_catalog
    if catalog.kind == "sqlite":
        catalog = Catalog("sqlite", absolute(catalog.target))
    warehouse = {
        "catalog": str(catalog),
        "data": absolute(settings.warehouse.data),
        "endpoint_url": settings.warehouse.endpoint_url or settings.source.endpoint_url,
        "addressing": settings.warehouse.addressing or settings.source.addressing,
    }
    models = {
        name: {
            key: absolute(value) if key == "path" else value if key in _WORDS else _found(value, base)
            for key, value in entry.items()
        }
        for name, entry in settings.models.items()
    }
    graphs, alerts_file = settings.inference.graph_cache, settings.alerts.urls_file
    textfile = settings.telemetry.textfile
    return settings.model_copy(
        update={
            "inference": settings.inference.model_copy(update={"graph_cache": graphs and absolute(graphs)}),
            "source": settings.source.model_copy(
                update={
                    "uri": absolute(settings.source.uri),
                    "manifest": settings.source.manifest and absolute(settings.source.manifest),
                }
            ),
            "warehouse": settings.warehouse.model_copy(update=warehouse),
            "alerts": settings.alerts.model_copy(update={"urls_file": alerts_file and absolute(alerts_file)}),
            "telemetry": settings.telemetry.model_copy(update={"textfile": textfile and absolute(textfile)}),
            "publish": settings.publish.model_copy(update={"file": absolute(settings.publish.file)}),
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
