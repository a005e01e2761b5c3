"""Decodes a recording to float32 at 16 kHz, block by block: memory does not grow with its length.

Samples are counted and headers are not trusted: what was decoded is compared with what the container declares,
because a WAV, MP3, Opus or WebM file that was cut decodes to a shorter clip without any error.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soxr

from emolake.audio.containers.gzipped import is_gzip, unpack
from emolake.audio.containers.inspection import Declaration, declaration
from emolake.audio.decoders import EndError, decoder_errors, described, open_decoder
from emolake.audio.mixing import Mixer
from emolake.audio.signal_meter import SignalFigures, SignalMeter
from emolake.errors import BadRecordingError, Reason


@dataclass(frozen=True)
class DecodeOptions:
    """How recordings are decoded."""

    sampling_rate: int = 16_000
    """Rate of the blocks in Hz."""
    block_s: float = 1.0
    """Seconds of source audio a block, about."""
    truncation_tolerance_s: float = 0.1
    """Seconds that may be missing against what the container declares: codecs' delay and padding."""
    max_channels: int = 16
    """Most channels of a recording; more are a broken header, or no speech."""
    min_source_rate: int = 4_000
    """Least sampling rate of a recording in Hz; below it there is no intelligible speech."""
    max_source_rate: int = 384_000
    """Greatest sampling rate of a recording in Hz."""
    max_amplitude: float = 1e12
    """Greatest magnitude of a sample, where full scale is 1: the squares of larger ones overflow float32."""
    headerless_rates: Mapping[str, int] = field(default_factory=dict)
    """Sampling rates in Hz of files without a header, by extension, where they are not the usual ones."""
    unpacked_mb: int = 2048
    """Most that a recording may take on disk once it is unpacked from gzip."""


@dataclass(frozen=True)
class Opened:
    """What a recording's header says."""

    codec: str
    sampling_rate: int
    channels: int


@dataclass(frozen=True)
class DecodeOutcome:
    """What decoding a whole recording came to."""

    samples: int
    """Frames decoded, at the source's own rate."""
    resampled: int
    """Frames yielded, at the rate of the options."""
    duration_s: float
    """Seconds decoded: samples over the source's rate."""
    declared_s: float | None
    """Seconds that the container declares; None where it declares nothing."""
    truncated: bool
    """Whether audio is missing that the container declares, or its own end mark is."""
    reason: str | None
    """What is missing, or what else was found wrong; None when nothing was."""
    signal: SignalFigures | None = None
    """What the signal is like, at the source's own rate."""


class _StoppedError(Exception):
    """A decoder broke half-way."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


_MOST_GZIP_LAYERS = 2  # a `.gz` that is stored with `Content-Encoding: gzip`


class AudioReader:
    """One recording, opened for one pass of decoding.

    `codec`, `sampling_rate` (Hz, of the source) and `channels` are known once it is open. Raises
    BadRecordingError, on opening or from `blocks`, for a file that yields nothing that can be analysed.
    """

    def __init__(
        self,
        path: Path,
        options: DecodeOptions = DecodeOptions(),
        name: str | None = None,
        scratch: Path | None = None,
    ) -> None:
        """Open a file.

        Args:
            path: the file.
            options: how it is decoded.
            name: what it is called at its source, whose ending names a format without a header.
            scratch: folder for what is unpacked; that of the system when left out.
        """
        self.options = options
        self.name = name or path.name
        self._outcome: DecodeOutcome | None = None
        with ExitStack() as opening:
            path, self._found = self._inspect(path, opening, scratch)
            self._check_shape(self._found.declared.sampling_rate, self._found.declared.channels)
            self._source = open_decoder(path, self._found, options.truncation_tolerance_s)
            opening.callback(self._source.close)
            self.codec = self._source.codec
            self.sampling_rate = self._source.sampling_rate
            self.channels = self._source.channels
            self._check_shape(self.sampling_rate, self.channels)
            self._opened = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; `outcome` stays."""
        self._opened.close()

    @property
    def outcome(self) -> DecodeOutcome:
        """What the whole pass came to; only there once `blocks` is exhausted."""
        if self._outcome is None:
            raise RuntimeError(
                f"the outcome of {self.name} is known after its last block; exhaust blocks() first"
            )
        return self._outcome

    def _inspect(self, path: Path, opening: ExitStack, scratch: Path | None) -> tuple[Path, Declaration]:
        """Return the file to decode, unpacked where it is gzip, and what it declares."""
        fault = None
        try:
            for layer in range(_MOST_GZIP_LAYERS):
                if not is_gzip(path):
                    break
                folder = tempfile.TemporaryDirectory(prefix="emolake-gzip-", dir=scratch)
                target = Path(opening.enter_context(folder)) / str(layer)
                fault = unpack(path, target, most_bytes=self.options.unpacked_mb * 1_000_000) or fault
                path = target
            if path.stat().st_size == 0:
                raise BadRecordingError(Reason.EMPTY, fault or "the file has no bytes", stage="decode")
            found = declaration(path, self.name, self.options.headerless_rates)
        except FileNotFoundError as error:
            raise BadRecordingError(Reason.VANISHED, "the file is there no more", stage="decode") from error
        except OSError as error:
            message = f"the file cannot be read ({error.strerror or error}); a later run tries it again"
            raise BadRecordingError(Reason.FETCH_FAILED, message, stage="decode") from error
        if fault is not None:
            found = replace(found, declared=found.declared._replace(fault=fault))
        return path, found

    def _check_shape(self, rate: float | None, channels: int | None) -> None:
        low, high = self.options.min_source_rate, self.options.max_source_rate
        if rate is not None and not low <= rate <= high:
            message = f"{rate:.10g} Hz; expected {low} to {high} Hz: resample the file, or fix its header"
            raise BadRecordingError(Reason.UNSUPPORTED, message, stage="decode")
        if channels is not None and not 1 <= channels <= self.options.max_channels:
            most = self.options.max_channels
            message = f"{channels} channels; expected 1 to {most}: split the file, or fix its header"
            raise BadRecordingError(Reason.UNSUPPORTED, message, stage="decode")

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield blocks [n, channels] float32 at the rate of the options, n > 0; can be called once.

        Where the decoder breaks after some samples, the blocks before it come out, and `outcome` says so.
        """
        meter = SignalMeter(self.sampling_rate, self.channels, self.codec)
        resample = None
        if self.sampling_rate != self.options.sampling_rate:
            resample = soxr.ResampleStream(
                self.sampling_rate, self.options.sampling_rate, self.channels, dtype="float32", quality="HQ"
            )
        samples = resampled = 0
        stopped: Exception | None = None
        try:
            for block in self._source_blocks():
                self._check_finite(block, samples)
                samples += len(block)
                meter.push(block)
                made = block if resample is None else resample.resample_chunk(block)
                if len(made):
                    resampled += len(made)
                    yield made
        except _StoppedError as error:
            stopped = error.cause
        if samples == 0:
            fault = self._found.declared.fault or "the decoder gives none"
            message = f"no sample could be decoded ({described(stopped) if stopped else fault})"
            raise BadRecordingError(Reason.NO_SAMPLES, message, stage="decode")
        if resample is not None:
            made = resample.resample_chunk(np.empty((0, self.channels), np.float32), last=True)
            if len(made):
                resampled += len(made)
                yield made
        self._outcome = self._judge(samples, resampled, stopped, meter.figures())

    def _source_blocks(self) -> Iterator[np.ndarray]:
        """Gather the decoder's frames to blocks at the source's rate.

        Raises:
            _StoppedError: the decoder broke; what it gave before came out as blocks.
        """
        wanted = max(1, round(self.options.block_s * self.sampling_rate))
        gathered: list[np.ndarray] = []
        count = 0
        stopped: Exception | None = None
        frames = self._source.read()
        while True:
            try:
                piece = next(frames, None)
            except decoder_errors() as error:
                piece, stopped = None, error
            if piece is not None:
                gathered.append(piece)
                count += len(piece)
            if count and (piece is None or count >= wanted):
                yield np.ascontiguousarray(gathered[0] if len(gathered) == 1 else np.concatenate(gathered))
                gathered, count = [], 0
            if piece is None:
                break
        if stopped is not None:
            raise _StoppedError(stopped)

    def _check_finite(self, block: np.ndarray, before: int) -> None:
        most = self.options.max_amplitude
        # NaN is the least and the largest of what it is among, and fails both comparisons.
        if -most <= block.min() and block.max() <= most:
            return
        sound = np.abs(block) <= most
        frame, channel = (int(i) for i in np.argwhere(~sound)[0])
        position = (before + frame) / self.sampling_rate
        raise BadRecordingError(
            Reason.NON_FINITE,
            f"the sample at {position:.6f} s of channel {channel} is {block[frame, channel]}; expected a "
            f"finite number up to {self.options.max_amplitude:g}: fix what writes the file",
            stage="decode",
        )

    def _judge(
        self, samples: int, resampled: int, broken: Exception | None, signal: SignalFigures
    ) -> DecodeOutcome:
        declared, tolerance = self._found.declared, self.options.truncation_tolerance_s
        duration = samples / self.sampling_rate
        notes = []
        promised = declared.duration_s
        short = promised is not None and duration < promised - tolerance
        # Who stumbles over a tag behind the last declared sample has lost nothing.
        lost = broken is not None and not (isinstance(broken, EndError) and promised is not None)
        if promised is not None and abs(duration - promised) > tolerance:
            notes.append(f"{duration:.3f} s were decoded, and the container declares {promised:.3f} s")
        if declared.fault is not None:
            notes.append(declared.fault)
        if broken is not None:
            notes.append(f"the decoder stopped at {duration:.3f} s: {described(broken)}")
        truncated = short or lost or declared.fault is not None
        return DecodeOutcome(
            samples, resampled, duration, promised, truncated, "; ".join(notes) or None, signal
        )


def load_mono(path: Path, *, sampling_rate: int = 16_000) -> np.ndarray:
    """Decode a whole file [n] float32, mixed down by `Mixer`: for training and notebooks."""
    with AudioReader(path, DecodeOptions(sampling_rate=sampling_rate)) as reader:
        mixer = Mixer(sampling_rate)
        mixed = [piece for block in reader.blocks() for piece in mixer.push(block)]
    # A handful of samples at a higher rate may come to none.
    return np.concatenate([np.empty(0, np.float32), *mixed, mixer.finish()])
