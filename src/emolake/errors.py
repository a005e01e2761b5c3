"""The errors that a user, a file or a server can cause; anything else that is raised is a bug."""

from enum import StrEnum
from typing import ClassVar


class EmolakeError(Exception):
    """Something outside the program is wrong; the command line prints it as one sentence, or in its own lines."""

    has_lines: ClassVar[bool] = False
    """Whether the message is more than a sentence, such as a text with a mark below the place of an error."""


class ConfigurationError(EmolakeError):
    """The call or the configuration is wrong; the command line exits with 2."""


class Reason(StrEnum):
    """Why a recording is bad; the closed set that the column `error` of `recordings` opens with."""

    EMPTY = "empty"
    """The object has no bytes."""
    UNDECODABLE = "undecodable"
    """No decoder knows the format, or the header is broken."""
    NO_AUDIO_STREAM = "no_audio_stream"
    """The container was opened and holds no audio."""
    NO_SAMPLES = "no_samples"
    """There is an audio stream, and not one sample could be decoded from it."""
    NON_FINITE = "non_finite"
    """A sample is NaN, infinite, or so large that its square is."""
    TOO_SHORT = "too_short"
    """The recording is shorter than the least that can be analysed."""
    TRUNCATED = "truncated"
    """The recording ends before what its container declares; what was decoded is kept."""
    UNSUPPORTED = "unsupported"
    """The rate, the number of channels or the chosen channels are outside of what is analysed."""
    EXCLUDED = "excluded"
    """The policy keeps all of the recording from every model; it is no bad recording."""
    CRASHED = "crashed"
    """The process that decoded the recording, or a cluster's worker that analysed it, died of it."""
    TIMED_OUT = "timed_out"
    """The decoder, or a cluster's worker, was silent for longer than it may be."""
    OUT_OF_MEMORY = "out_of_memory"
    """The decoder, or a cluster's worker, took more memory than it may."""
    TOO_LARGE = "too_large"
    """Unpacked from gzip the object would be larger than it may be."""
    VANISHED = "vanished"
    """The object was listed, and was gone when it was read; should it be listed again, it is tried again."""
    FETCH_FAILED = "fetch_failed"
    """The object could not be read for a reason that may pass; the next night tries it again."""

    @property
    def transient(self) -> bool:
        """Whether the same object may succeed at a later try."""
        return self in (Reason.VANISHED, Reason.FETCH_FAILED)


class BadRecordingError(EmolakeError):
    """One recording cannot be analysed; it is quarantined, and the run goes on.

    `stage` is the step that found it: "fetch", "decode" or "segment"; "shard" where no step came back.
    """

    def __init__(self, reason: Reason, message: str, *, stage: str) -> None:
        super().__init__(reason, message, stage)
        self.reason = reason
        self.message = message
        self.stage = stage

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.reason, self.message, self.stage)


def _rebuild(reason: Reason, message: str, stage: str) -> BadRecordingError:
    """Unpickle the error: `stage` is keyword-only, and on a cluster errors cross processes."""
    return BadRecordingError(reason, message, stage=stage)
