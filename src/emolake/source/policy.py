"""Who may be heard: recordings and channels that are recorded as excluded, and never reach a model."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, field_validator

ANY = "*"
EXCLUDED_CONFIG_ID = "excluded"
"""Under which an excluded recording stands in the ledger: whatever else changes, it stays done."""


class Policy(BaseModel):
    """What is ruled out of scoring; the keys of [policy]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exclude: dict[str, tuple[str, ...]] = Field(
        {}, description='Dimensions and their values whose recordings are never fetched; ["*"] is any value.'
    )
    exclude_channels: tuple[NonNegativeInt, ...] = Field(
        (), description="Channels, counted from 0, that no model hears: neither by themselves nor in the mix."
    )

    @field_validator("exclude")
    @classmethod
    def _named(cls, exclude: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, values in exclude.items():
            if not values:
                raise ValueError(f'{name} has no values; name those that are ruled out, or ["*"] for all')
        return exclude

    def rules_out(self, dimensions: Mapping[str, str]) -> str | None:
        """Return why a recording of these dimensions is excluded, or None."""
        for name, values in self.exclude.items():
            if name in dimensions and (ANY in values or dimensions[name] in values):
                return f"{name} = {dimensions[name]!r} is ruled out by policy.exclude"
        return None

    def channels(self, available: int) -> Sequence[int]:
        """Return the indices of a recording's channels that are ruled out."""
        return [channel for channel in sorted(set(self.exclude_channels)) if channel < available]
