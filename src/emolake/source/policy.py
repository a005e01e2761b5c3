"""Who may be analysed: recordings and channels that are recorded as excluded, and never reach a model."""

from collections.abc import Mapping, Sequence

from pydantic import Field, NonNegativeInt, field_validator

from emolake.options import Options

ANY = "*"
EXCLUDED_CONFIG_ID = "excluded"
"""What an excluded recording has in the ledger: whatever else changes, it stays done."""


class Policy(Options):
    """What is ruled out of scoring; the keys of [policy]."""

    exclude: dict[str, tuple[str, ...]] = Field({})
    """Dimensions and their values whose recordings are never fetched; ["*"] is any value."""
    exclude_channels: tuple[NonNegativeInt, ...] = ()
    """Channels, counted from 0, that no model is given: neither by themselves nor in the mix."""
    purpose: str | None = Field(None, pattern=r"\S")
    """Why the emotions of people at work are inferred: without it no model is given the roles agent and employee.

    The EU bans that since 2 February 2025, but for medical and safety reasons (Regulation 2024/1689, article 5(1)(f)).
    It is stored with every run."""

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
