"""Decodes a recording to float32 at 16 kHz, block by block: memory does not grow with its length.

Samples are counted and headers are not trusted: what was decoded is held against what the container declares,
because a WAV, MP3, Opus or WebM file that was cut decodes to a shorter clip without any error.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
import numpy as np
import soundfile as sf
import soxr

from emolake.audio.containers.formats import DEMUXERS
from emolake.audio.containers.inspection import Declaration, declaration
from emolake.errors import BadRecordingError, Reason

_DECODER_ERRORS = (av.FFmpegError, OSError, EOFError, ValueError, sf.LibsndfileError)
_SHORT_CALL = 1024
"""Frames of libsndfile's short calls: an error costs the frames of its call."""


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
    """Least sampling rate of a recording in Hz; below it there is no speech to hear."""
    max_source_rate: int = 384_000
    """Greatest sampling rate of a recording in Hz."""
    max_amplitude: float = 1e12
    """Greatest magnitude of a sample, where full scale is 1: the squares of larger ones overflow float32."""


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


class _Source(Protocol):
    """An opened decoder."""

    codec: str
    sampling_rate: int
    channels: int

    def read(self) -> Iterator[np.ndarray]:
        """Frames [n, channels] float32, n > 0, at the source's rate; raises one of _DECODER_ERRORS."""
        ...

    def close(self) -> None: ...


class _LibsndfileSource:
    """WAV, FLAC, AIFF, AU, CAF, W64 and Vorbis."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = sf.SoundFile(path)
        self.sampling_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        subtype = self._file.subtype.lower()
        self.codec = "flac" if self._file.format == "FLAC" else subtype

    def read(self) -> Iterator[np.ndarray]:
        given, call = 0, _SHORT_CALL
        if self.codec == "flac":
            # A second: soundfile seeks behind each call, and that takes libFLAC longer than decoding.
            call *= -(-self.sampling_rate // _SHORT_CALL)
        try:
            for frames in self._frames(self._file, call):
                given += len(frames)
                yield frames
        except sf.LibsndfileError:
            if call == _SHORT_CALL:
                raise
            # Once more and in short calls, for what lies before the error in its second.
            with sf.SoundFile(self._path) as again:
                for frames in self._frames(again, _SHORT_CALL):
                    known = min(given, len(frames))
                    given -= known
                    if known < len(frames):
                        yield frames[known:]

    def _frames(self, file: sf.SoundFile, call: int) -> Iterator[np.ndarray]:
        while True:
            buffer = np.empty((call, self.channels), np.float32)
            # The buffered call counts what it read; SoundFile.read would believe the header's count instead.
            count = file.buffer_read_into(buffer, "float32")
            if count == 0:
                return
            yield buffer[:count]

    def close(self) -> None:
        self._file.close()


class _EndError(ValueError):
    """The last packets do not decode: an end cut short, or a tag behind it."""


class _FfmpegSource:
    """MP3, Opus, AAC, WebM, AMR, video containers, and what libsndfile refuses."""

    def __init__(self, path: Path, declared: Declaration, tolerance_s: float) -> None:
        options = {"format_whitelist": ",".join(DEMUXERS), **declared.demuxer_options}
        # An absolute path cannot be taken for a URL.
        self._container = av.open(
            str(path.absolute()), format=declared.demuxer, options=options, metadata_errors="replace"
        )
        try:
            if not self._container.streams.audio:
                kinds = ", ".join(sorted({stream.type for stream in self._container.streams})) or "nothing"
                message = f"the file has {kinds}, and no audio stream"
                raise BadRecordingError(Reason.NO_AUDIO_STREAM, message, stage="decode")
            stream = self._container.streams.audio[0]
            # PyAV's stubs promise a context, and there is none where FFmpeg has no decoder.
            context: av.AudioCodecContext | None = getattr(stream, "codec_context", None)
            if context is None:
                message = "no decoder knows the codec of the audio stream; convert the file"
                raise BadRecordingError(Reason.UNSUPPORTED, message, stage="decode")
            self.codec: str = context.codec.canonical_name
            self._tolerance_s = tolerance_s
            self._frames = self._decoded(stream)
            # The first frame, not the header, says the rate and the channels.
            self._first = next(self._frames, None)
        except BaseException:
            self._container.close()
            raise
        self.sampling_rate: int = self._first.sample_rate if self._first else context.sample_rate
        self.channels: int = len(self._first.layout.channels) if self._first else context.channels

    def _decoded(self, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
        """Frames with samples; packets that do not decode are skipped, up to the tolerance in all."""
        skipped_s = 0.0
        pending: av.FFmpegError | None = None
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except IndexError as error:
                # PyAV does not know of streams that only appear in mid-file, as FLV and MPEG-TS allow.
                raise ValueError("another stream begins in mid-file") from error
            if packet is None:
                break
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                pending = error
                length = packet.duration * packet.time_base if packet.duration and packet.time_base else 0.02
                skipped_s += float(length)  # 20 ms, a speech codec's frame, where the container does not say
                continue
            for frame in frames:
                if frame.samples:
                    if pending is not None and skipped_s > self._tolerance_s:
                        raise pending
                    pending = None
                    yield frame
        if pending is not None:
            raise _EndError(_told(pending)) from pending

    def read(self) -> Iterator[np.ndarray]:
        frame = self._first
        while frame is not None:
            if (frame.sample_rate, len(frame.layout.channels)) != (self.sampling_rate, self.channels):
                raise ValueError(
                    f"the stream changes from {self.channels} channels at {self.sampling_rate} Hz to "
                    f"{len(frame.layout.channels)} at {frame.sample_rate} Hz"
                )
            yield _to_float(frame)
            frame = next(self._frames, None)

    def close(self) -> None:
        self._container.close()


def _to_float(frame: av.AudioFrame) -> np.ndarray:
    """Frames [n, channels] float32 of one FFmpeg frame of any sample format; integers by their full scale."""
    given: np.ndarray = frame.to_ndarray()
    samples = given.T if frame.format.is_planar else given.reshape(-1, len(frame.layout.channels))
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as such
        floats: np.ndarray = samples.astype(np.float32)
    if samples.dtype.kind == "u":
        return (floats - 128) / 128
    return floats * np.float32(2.0 ** (1 - 8 * samples.itemsize)) if samples.dtype.kind == "i" else floats


def _told(error: BaseException) -> str:
    """One line of a decoder's error, without the path that FFmpeg adds."""
    if isinstance(error, av.FFmpegError):
        return str(error.strerror)
    text = getattr(error, "error_string", None) or str(error) or type(error).__name__
    return str(text).strip().rstrip(".")


def _open_source(path: Path, found: Declaration, tolerance_s: float) -> _Source:
    """The decoder that takes the file; libsndfile's refusal hands it on to FFmpeg."""
    refusals = []
    if found.decoder == "libsndfile":
        try:
            return _LibsndfileSource(path)
        except _DECODER_ERRORS as error:
            refusals.append(f"libsndfile: {_told(error)}")
    try:
        return _FfmpegSource(path, found, tolerance_s)
    except _DECODER_ERRORS as error:
        refusals.append(f"ffmpeg: {_told(error)}")
        raise BadRecordingError(
            Reason.UNDECODABLE,
            f"no decoder reads the file, by its first bytes {found.container} ({'; '.join(refusals)})",
            stage="decode",
        ) from error


class AudioReader:
    """One recording, opened for one pass of decoding.

    `codec`, `sampling_rate` (Hz, of the source) and `channels` are known once it is open. Raises
    BadRecordingError, on opening or from `blocks`, for a file that yields nothing that can be analysed.
    """

    def __init__(self, path: Path, options: DecodeOptions = DecodeOptions(), name: str | None = None) -> None:
        self.options = options
        self.name = name or path.name
        self._outcome: DecodeOutcome | None = None
        self._found = self._inspect(path)
        self._check_shape(self._found.declared.sampling_rate, self._found.declared.channels)
        self._source = _open_source(path, self._found, options.truncation_tolerance_s)
        self.codec = self._source.codec
        self.sampling_rate = self._source.sampling_rate
        self.channels = self._source.channels
        try:
            self._check_shape(self.sampling_rate, self.channels)
        except BadRecordingError:
            self._source.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; `outcome` stays."""
        self._source.close()

    @property
    def outcome(self) -> DecodeOutcome:
        """What the whole pass came to; only there once `blocks` is exhausted."""
        if self._outcome is None:
            raise RuntimeError(
                f"the outcome of {self.name} is known after its last block; exhaust blocks() first"
            )
        return self._outcome

    def _inspect(self, path: Path) -> Declaration:
        try:
            if path.stat().st_size == 0:
                raise BadRecordingError(Reason.EMPTY, "the file has no bytes", stage="decode")
            return declaration(path)
        except FileNotFoundError as error:
            raise BadRecordingError(Reason.VANISHED, "the file is there no more", stage="decode") from error
        except OSError as error:
            message = f"the file cannot be read ({error.strerror or error}); a later run tries it again"
            raise BadRecordingError(Reason.FETCH_FAILED, message, stage="decode") from error

    def _check_shape(self, rate: float | None, channels: int | None) -> None:
        low, high = self.options.min_source_rate, self.options.max_source_rate
        if rate is not None and not low <= rate <= high:
            message = f"{rate:.10g} Hz; expected {low} to {high} Hz: resample the file, or mend its header"
            raise BadRecordingError(Reason.UNSUPPORTED, message, stage="decode")
        if channels is not None and not 1 <= channels <= self.options.max_channels:
            most = self.options.max_channels
            message = f"{channels} channels; expected 1 to {most}: split the file, or mend its header"
            raise BadRecordingError(Reason.UNSUPPORTED, message, stage="decode")

    def blocks(self) -> Iterator[np.ndarray]:
        """Blocks [n, channels] float32 at the rate of the options, n > 0; can be called once.

        Where the decoder breaks after some samples, the blocks before it come out, and `outcome` tells.
        """
        resample = None
        if self.sampling_rate != self.options.sampling_rate:
            resample = soxr.ResampleStream(
                self.sampling_rate, self.options.sampling_rate, self.channels, dtype="float32", quality="HQ"
            )
        samples = resampled = 0
        broken: list[Exception] = []
        for block in self._source_blocks(broken):
            self._check_finite(block, samples)
            samples += len(block)
            made = block if resample is None else resample.resample_chunk(block)
            if len(made):
                resampled += len(made)
                yield made
        if samples == 0:
            detail = _told(broken[0]) if broken else self._found.declared.fault or "the decoder gives none"
            message = f"no sample could be decoded ({detail})"
            raise BadRecordingError(Reason.NO_SAMPLES, message, stage="decode")
        if resample is not None:
            made = resample.resample_chunk(np.empty((0, self.channels), np.float32), last=True)
            if len(made):
                resampled += len(made)
                yield made
        self._outcome = self._judge(samples, resampled, broken[0] if broken else None)

    def _source_blocks(self, broken: list[Exception]) -> Iterator[np.ndarray]:
        """Gathers the decoder's frames to blocks at the source's rate; notes in `broken` what stopped it."""
        wanted = max(1, round(self.options.block_s * self.sampling_rate))
        gathered: list[np.ndarray] = []
        count = 0
        frames = self._source.read()
        while True:
            try:
                piece = next(frames, None)
            except _DECODER_ERRORS as error:
                broken.append(error)
                piece = None
            if piece is not None:
                gathered.append(piece)
                count += len(piece)
            if count and (piece is None or count >= wanted):
                yield np.ascontiguousarray(np.concatenate(gathered))
                gathered, count = [], 0
            if piece is None:
                return

    def _check_finite(self, block: np.ndarray, before: int) -> None:
        # NaN fails the comparison too, so one pass finds all three.
        sound = np.abs(block) <= self.options.max_amplitude
        if sound.all():
            return
        frame, channel = (int(i) for i in np.argwhere(~sound)[0])
        position = (before + frame) / self.sampling_rate
        raise BadRecordingError(
            Reason.NON_FINITE,
            f"the sample at {position:.6f} s of channel {channel} is {block[frame, channel]}; expected a "
            f"finite number up to {self.options.max_amplitude:g}: mend what writes the file",
            stage="decode",
        )

    def _judge(self, samples: int, resampled: int, broken: Exception | None) -> DecodeOutcome:
        declared, tolerance = self._found.declared, self.options.truncation_tolerance_s
        duration = samples / self.sampling_rate
        notes = []
        promised = declared.duration_s
        short = promised is not None and duration < promised - tolerance
        # Who stumbles over a tag behind the last declared sample has lost nothing.
        lost = broken is not None and not (isinstance(broken, _EndError) and promised is not None)
        if promised is not None and abs(duration - promised) > tolerance:
            notes.append(f"{duration:.3f} s were decoded, and the container declares {promised:.3f} s")
        if declared.fault is not None:
            notes.append(declared.fault)
        if broken is not None:
            notes.append(f"the decoder stopped at {duration:.3f} s: {_told(broken)}")
        truncated = short or lost or declared.fault is not None
        return DecodeOutcome(samples, resampled, duration, promised, truncated, "; ".join(notes) or None)


def load_mono(path: Path, *, sampling_rate: int = 16_000) -> np.ndarray:
    """A whole file [n] float32, mixed down by the mean of its channels: for training and notebooks."""
    with AudioReader(path, DecodeOptions(sampling_rate=sampling_rate)) as reader:
        mixed = [block.mean(axis=1, dtype=np.float32) for block in reader.blocks()]
    # A handful of samples at a higher rate may come to none.
    return np.concatenate([np.empty(0, np.float32), *mixed])
