"""Decoders: libsndfile, and FFmpeg for what it refuses; each gives float32 frames at the file's own sampling rate."""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import numpy as np
import soundfile as sf

from emolake.audio.containers.formats import DEMUXERS
from emolake.audio.containers.inspection import BehindTags, Declaration
from emolake.errors import BadRecordingError, Reason

if TYPE_CHECKING:
    import av

_SHORT_CALL = 1024
"""Frames of libsndfile's short calls: an error costs the frames of its call."""


_LONG_CALLS = frozenset(
    {"flac", "pcm_u8", "pcm_s8", "pcm_16", "pcm_24", "pcm_32", "float", "double", "ulaw", "alaw"}
)
"""Codecs read a second at a time: soundfile seeks behind each call, and that takes longer than decoding."""


def decoder_errors() -> tuple[type[Exception], ...]:
    """Return what a decoder raises for a file that it cannot read, or not further; FFmpeg's where it was asked."""
    ffmpeg = sys.modules.get("av")
    own = (OSError, EOFError, ValueError, sf.LibsndfileError)
    return own if ffmpeg is None else (ffmpeg.FFmpegError, *own)


class Decoder(Protocol):
    """An opened decoder."""

    codec: str
    sampling_rate: int
    channels: int

    def read(self) -> Iterator[np.ndarray]:
        """Yield frames [n, channels] float32, n > 0, at the source's rate; raise one of `decoder_errors`."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class LibsndfileDecoder:
    """WAV, FLAC, AIFF, AU, CAF, W64 and Vorbis."""

    def __init__(self, path: Path, begins_at: int = 0) -> None:
        self._path = path
        self._begins_at = begins_at
        self._file = sf.SoundFile(_body(path, begins_at))
        self.sampling_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        subtype = self._file.subtype.lower()
        self.codec = "flac" if self._file.format == "FLAC" else subtype

    def read(self) -> Iterator[np.ndarray]:
        """See `Decoder`."""
        given, call = 0, _SHORT_CALL
        if self.codec in _LONG_CALLS:
            call *= -(-self.sampling_rate // _SHORT_CALL)
        try:
            for frames in self._frames(self._file, call):
                given += len(frames)
                yield frames
        except sf.LibsndfileError:
            if call == _SHORT_CALL:
                raise
            # Once more and in short calls, for what lies before the error in its second.
            with sf.SoundFile(_body(self._path, self._begins_at)) as again:
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
        """See `Decoder`."""
        self._file.close()


class EndError(ValueError):
    """The last packets do not decode: an end cut short, or a tag behind it."""


class FfmpegDecoder:
    """MP3, Opus, AAC, WebM, AMR, video containers, and what libsndfile refuses."""

    def __init__(self, path: Path, declared: Declaration, tolerance_s: float) -> None:
        import av  # most recordings need none of it

        options = {"format_whitelist": ",".join(DEMUXERS), **declared.demuxer_options}
        body = _body(path, declared.begins_at)
        # An absolute path cannot be taken for a URL.
        opened = str(body.absolute()) if isinstance(body, Path) else body
        self._container = av.open(
            opened, "r", format=declared.demuxer, options=options, metadata_errors="replace"
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
        self.channels: int = self._first.layout.nb_channels if self._first else context.channels

    def _decoded(self, stream: "av.AudioStream") -> "Iterator[av.AudioFrame]":
        """Yield frames with samples; packets that do not decode are skipped, up to the tolerance in all."""
        import av

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
            raise EndError(described(pending)) from pending

    def read(self) -> Iterator[np.ndarray]:
        """See `Decoder`."""
        import av

        held, channels, broken = av.AudioFifo(), self.channels, None
        try:
            for frame in self._frames if self._first is None else chain([self._first], self._frames):
                if frame.layout.nb_channels != channels:
                    raise self._changed(frame)
                frame.pts = None  # or the queue would look for gaps
                try:
                    held.write(frame)
                except ValueError:
                    if frame.sample_rate != self.sampling_rate:
                        raise self._changed(frame) from None
                    # What has another sample format goes by itself.
                    if (joined := held.read()) is not None:
                        yield _to_float(joined)
                    held = av.AudioFifo()
                    held.write(frame)
                # A second at a time. The queue is kept: it compares each frame with its first one.
                if held.samples >= self.sampling_rate and (joined := held.read()) is not None:
                    yield _to_float(joined)
        except decoder_errors() as error:
            broken = error
        if (joined := held.read()) is not None:
            yield _to_float(joined)
        if broken is not None:
            raise broken

    def _changed(self, frame: "av.AudioFrame") -> ValueError:
        return ValueError(
            f"the stream changes from {self.channels} channels at {self.sampling_rate} Hz to "
            f"{frame.layout.nb_channels} at {frame.sample_rate} Hz"
        )

    def close(self) -> None:
        """See `Decoder`."""
        self._container.close()


def _body(path: Path, begins_at: int) -> Path | BinaryIO:
    """Return what a decoder opens: the file, or what is behind the tags in it."""
    return path if begins_at == 0 else cast("BinaryIO", BehindTags(path, begins_at))


def _to_float(frame: "av.AudioFrame") -> np.ndarray:
    """Return frames [n, channels] float32 of one FFmpeg frame of any sample format; integers by their full scale."""
    given: np.ndarray = frame.to_ndarray()
    samples = given.T if frame.format.is_planar else given.reshape(-1, len(frame.layout.channels))
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as such
        floats: np.ndarray = samples.astype(np.float32)
    if samples.dtype.kind == "u":
        return (floats - 128) / 128
    return floats * np.float32(2.0 ** (1 - 8 * samples.itemsize)) if samples.dtype.kind == "i" else floats


def described(error: BaseException) -> str:
    """Return one line of a decoder's error, without the path that FFmpeg adds."""
    ffmpeg = sys.modules.get("av")
    if ffmpeg is not None and isinstance(error, ffmpeg.FFmpegError):
        return str(error.strerror)
    text = getattr(error, "error_string", None) or str(error) or type(error).__name__
    return str(text).strip().rstrip(".")


def open_decoder(path: Path, found: Declaration, tolerance_s: float) -> Decoder:
    """Return the decoder that takes a file; where libsndfile refuses it, FFmpeg is asked.

    Raises:
        BadRecordingError: neither takes it, or it holds no audio.
    """
    if found.no_audio is not None:
        raise BadRecordingError(
            Reason.NO_AUDIO_STREAM, f"the file is no audio but {found.no_audio}", stage="decode"
        )
    refusals = []
    if found.decoder == "libsndfile":
        try:
            return LibsndfileDecoder(path, found.begins_at)
        except decoder_errors() as error:
            refusals.append(f"libsndfile: {described(error)}")
    try:
        return FfmpegDecoder(path, found, tolerance_s)
    except decoder_errors() as error:
        refusals.append(f"ffmpeg: {described(error)}")
        if found.declared.fault is not None:
            refusals.insert(0, found.declared.fault)
        raise BadRecordingError(
            Reason.UNDECODABLE,
            f"no decoder reads the file, by its first bytes {found.container} ({'; '.join(refusals)})",
            stage="decode",
        ) from error
