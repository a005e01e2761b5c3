"""Where the source is and how it is reached: the keys of [source]."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from emolake.options import Options
from emolake.source.pattern import KeyPattern
from emolake.source.references import LAST_MODIFIED, check_sidecar, parsed_reference
from emolake.source.uris import checked_endpoint, checked_uri

# A URI or a path that may be shown.
Uri = Annotated[str, AfterValidator(checked_uri)]
# URL of a server that may be shown.
Endpoint = Annotated[str, AfterValidator(checked_endpoint)]
# How a bucket is named in requests: in the path, in the host, or as it is usual for the server.
Addressing = Literal["auto", "path", "virtual"]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone is called {name!r}; use an IANA name such as Europe/Berlin"
        ) from error
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]


@dataclass(frozen=True)
class S3Options:
    """How S3 is reached; credentials come from the usual AWS chain."""

    endpoint_url: str | None = None
    """Of an S3-compatible server; None for AWS."""
    region: str | None = None
    """Region of the bucket; None takes the chain's."""
    addressing: Addressing = "auto"
    """How the bucket is named in requests."""
    connect_timeout_s: float = 10.0
    """How long a connection may take."""
    read_timeout_s: float = 60.0
    """How long the server may be silent."""
    attempts: int = 5
    """How often a request is made before it is given up."""


class SourceOptions(Options):
    """Where recordings lie, and how their keys are read."""

    uri: Uri = "recordings"
    """`s3://bucket[/prefix]`, or a folder."""
    pattern: str | tuple[str, ...] = "{date:%Y/%m/%d}/{site}/{call_id}.{ext}"
    """How keys are built; {date:…} and {time:…} are strftime, every other name becomes a dimension.

    A list of patterns is tried in order."""
    timezone: Zone = "UTC"
    """The calendar that days belong to."""
    key_timezone: Zone | None = None
    """Time zone of dates and times in keys that do not name it themselves by %z, Z or UTC; timezone when left out."""
    date_from: str | None = None
    """Where the day of keys without a date comes from: "last_modified", or a place as in dimensions.

    Each planned day then lists the whole source."""
    dimensions: dict[str, str] = Field({})
    """Dimensions that keys do not hold: "metadata:NAME", "tag:NAME", "sidecar:PATH.IN.JSON" or "manifest:COLUMN"."""
    sidecar: str | None = None
    """Key of the JSON object beside a recording, made of {key}, {stem}, {folder} and {name}."""
    manifest: Uri | None = None
    """CSV or Parquet table of recordings: `s3://bucket/key`, or a file."""
    manifest_key: str = "key"
    """The manifest's column of keys."""
    sniff: bool = False
    """Whether keys without an ending are recordings where their first bytes are audio; a request for each new one."""
    lookback_days: int = Field(3, ge=0)
    """How many days before the asked one the nightly plans too, for late arrivals."""
    endpoint_url: Endpoint | None = None
    """URL of an S3-compatible server; credentials come from the usual AWS chain."""
    region: str | None = None
    """Region of the bucket; the AWS chain's when left out."""
    addressing: Addressing = "auto"
    """How the bucket is named in requests: "path" (host/bucket), "virtual" (bucket.host), or "auto": AWS's own setting
    (s3.addressing_style), without one "path" where endpoint_url is set."""
    connect_timeout_s: float = Field(10.0, gt=0)
    """How long a connection to the source may take."""
    read_timeout_s: float = Field(60.0, gt=0)
    """How long the source may be silent."""

    @property
    def zone(self) -> ZoneInfo:
        """The calendar's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def key_zone(self) -> ZoneInfo:
        """The time zone of keys."""
        return ZoneInfo(self.key_timezone or self.timezone)

    @property
    def s3(self) -> S3Options:
        """How S3 is reached."""
        return S3Options(
            endpoint_url=self.endpoint_url,
            region=self.region,
            addressing=self.addressing,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.read_timeout_s,
        )

    def key_pattern(self) -> KeyPattern:
        """Return the parsed pattern, or patterns."""
        return KeyPattern(self.pattern, self.zone, self.key_zone, undated=self.date_from is not None)

    def dimension_names(self) -> tuple[str, ...]:
        """Return the names of all dimensions: those of keys, and those that are looked up."""
        return (*self.key_pattern().dimensions, *self.dimensions)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        references = [parsed_reference(text) for text in self.dimensions.values()]
        if self.date_from not in (None, LAST_MODIFIED):
            try:
                references.append(parsed_reference(self.date_from or ""))
            except ValueError as error:
                raise ValueError(f"date_from: {error}, or {LAST_MODIFIED}") from error
        kinds = {each.kind for each in references}
        for kind, given, example in (
            ("sidecar", self.sidecar, "{stem}.json"), ("manifest", self.manifest, "recordings.csv"),
        ):  # fmt: skip
            if kind in kinds and given is None:
                raise ValueError(f'{kind}: is needed for {kind}:…; for example {kind} = "{example}"')
        if self.sidecar is not None:
            check_sidecar(self.sidecar)
        return self
