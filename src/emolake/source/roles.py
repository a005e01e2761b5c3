"""Who speaks on which channel: roles of channels, by recording where layouts differ."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from emolake.options import Options

UNASSIGNED = "unassigned"
"""The role of a channel that no role names, and of one that carries several voices."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_AT_WORK = ("agent", "employee")

Channel = Annotated[int, Field(ge=0)]


class _Channels(Options):
    """Channels, counted from 0, by the role of who speaks there: every key that is no other option."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Channel]

    @property
    def channels(self) -> dict[str, int]:
        """The channel of each role."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        seen: dict[int, str] = {}
        for name, channel in self.channels.items():
            if not _NAME.fullmatch(name) or name == UNASSIGNED:
                raise ValueError(
                    f"{name!r} is no name of a role: expected small letters, digits and underscores, a letter first, "
                    f"and not {UNASSIGNED}, which is what a channel without a role is; rename it"
                )
            if channel in seen:
                raise ValueError(
                    f"{seen[channel]} and {name} are both channel {channel}; give each role a channel of its own"
                )
            seen[channel] = name
        return self


class RoleLayout(_Channels):
    """The roles of recordings with some values of dimensions, in place of those of [roles]."""

    where: dict[str, str | tuple[str, ...]] = Field(min_length=1)
    """Dimensions and their values; all of them have to fit."""

    def fits(self, dimensions: Mapping[str, str]) -> bool:
        """Return whether a recording of these dimensions has this layout."""
        return all(
            name in dimensions and dimensions[name] in ([values] if isinstance(values, str) else values)
            for name, values in self.where.items()
        )


class Roles(_Channels):
    """Which channel is whose: `agent = 0`, or any other name; the keys of [roles].

    Without any, roles are NULL. A channel that no role names is `unassigned`, and so is a recording of one channel, or
    of several with the same signal. `agent`, `employee`, and names that begin so, are not scored unless policy.purpose
    says why.
    """

    layouts: tuple[RoleLayout, ...] = ()
    """Recordings whose channels lie otherwise, by their dimensions: the first that fits counts."""

    @property
    def are_named(self) -> bool:
        """Whether there are any roles."""
        return bool(self.channels or self.layouts)

    def layout(self, dimensions: Mapping[str, str]) -> dict[int, str]:
        """Return the roles by channel of a recording with these dimensions, whatever channels it has."""
        fitting = next((each for each in self.layouts if each.fits(dimensions)), self)
        return {channel: name for name, channel in fitting.channels.items()}

    def assigned(
        self, dimensions: Mapping[str, str], channels: int, voices: Sequence[int] = ()
    ) -> dict[int, str]:
        """Return the role of each channel of a recording; none where there are no roles.

        Args:
            dimensions: of the recording.
            channels: how many it has.
            voices: for each channel the first one that carries the same signal; each its own where left out.
        """
        if not self.are_named:
            return {}
        named = self.layout(dimensions) if channels > 1 else {}
        shared = {voice for voice in voices if voices.count(voice) > 1}
        return {
            channel: UNASSIGNED
            if channel < len(voices) and voices[channel] in shared
            else named.get(channel, UNASSIGNED)
            for channel in range(channels)
        }

    def unscored(self, dimensions: Mapping[str, str], purpose: str | None) -> list[int]:
        """Return the channels of people at work, whom no model is given without a purpose.

        A recording of one channel has none of them.
        """
        if purpose is not None:
            return []
        return sorted(
            channel for channel, name in self.layout(dimensions).items() if name.startswith(_AT_WORK)
        )
