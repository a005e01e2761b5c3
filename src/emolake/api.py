"""The public API, for notebooks and other programs: `import emolake` gives it by name, and loads it when it is used."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from emolake.lake import connect
from emolake.lake.questions import Answer
from emolake.lake.transact import Lake
from emolake.settings import Settings
from emolake.settings import load_settings as load_settings_of
from emolake.tasks.segment import Segment, SegmentOptions

if TYPE_CHECKING:
    from emolake.models.protocol import EmotionModel

Config = Settings | Path | str | None


def load_settings(config: Config = None) -> Settings:
    """Return the configuration of a file.

    Args:
        config: path of the file; when left out the one that EMOLAKE_CONFIG names, or ./emolake.toml, or without any the
            defaults. Settings are returned as they are.

    Raises:
        ConfigurationError: the file is missing or wrong; the message names every wrong key.
    """
    if isinstance(config, Settings):
        return config
    return load_settings_of(None if config is None else Path(config))


class LakeOpening(AbstractContextManager[Lake]):
    """A lake that is about to be opened: for a `with` block, or for one query."""

    def __init__(self, settings: Settings, *, read_only: bool) -> None:
        self._settings = settings
        self._read_only = read_only
        self._opened = ExitStack()

    def __enter__(self) -> Lake:
        """Open it until the end of the block."""
        return self._opened.enter_context(self._lake(read_only=self._read_only))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._opened.__exit__(kind, error, traceback)

    def query(self, sql: str) -> Answer:
        """Return the answer to one SELECT over its tables and views; the lake is opened read-only, and closed again.

        Raises:
            QueryError: not exactly one SELECT, or an error in it.
            LakeError: as `open_lake`.
        """
        with self._lake(read_only=True) as lake:
            return lake.query(sql)

    def _lake(self, *, read_only: bool) -> AbstractContextManager[Lake]:
        zone = self._settings.source.timezone
        return connect.open_lake(self._settings.warehouse, read_only=read_only, timezone=zone)


def open_lake(config: Config = None, *, read_only: bool = True) -> LakeOpening:
    """Open the lake of a configuration, for a `with` block or one `.query(sql)`.

    A reader's times are in source.timezone.

    Args:
        config: as of `load_settings`.
        read_only: refuse every write, and to make a lake that is not there.

    Raises:
        LakeError: there is no lake yet, its catalog cannot be reached, or belongs to other data.
    """
    return LakeOpening(load_settings(config), read_only=read_only)


def load_model(model: str | None = None, *, config: Config = None) -> "EmotionModel":
    """Return a model, loaded once per process.

    Args:
        model: name of a model of the configuration, or a folder that `emolake train` wrote; the one of [inference] when
            left out.
        config: as of `load_settings`.

    Raises:
        ConfigurationError: there is no such model, or its weights do not fit.
    """
    from emolake.pipeline.loaded_models import loaded_model

    settings = load_settings(config)
    return loaded_model(settings.registry.entry_or_folder(model), settings.inference)


def predict(
    paths: Path | str | Iterable[Path | str],
    *,
    model: str | None = None,
    config: Config = None,
    logits: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each segment of some recordings, as `emolake predict --format json` has them.

    Args:
        paths: files, and folders of them.
        model: as of `load_model`.
        config: as of `load_settings`; it says how recordings are cut.
        logits: give raw logits too, in the order of the model's labels.

    Raises:
        ConfigurationError: there is no such file, folder or model.
        BadRecordingError: a file cannot be analysed; the rows of the files before it came out.
    """
    from emolake.prediction.files import audio_files, predict

    settings = load_settings(config)
    given = [paths] if isinstance(paths, Path | str) else paths
    entry = settings.registry.entry_or_folder(model)
    for found in predict(audio_files(list(map(Path, given))), settings=settings, entry=entry, logits=logits):
        if found.bad is not None:
            raise found.bad
        yield from found.rows


def decode(path: Path | str, *, sampling_rate: int = 16_000) -> np.ndarray:
    """Return the samples of a whole file, [n, channels] float32 at a sampling rate in Hz.

    Raises:
        BadRecordingError: the file cannot be decoded.
    """
    from emolake.tasks.decode import AudioReader, DecodeOptions

    with AudioReader(Path(path), DecodeOptions(sampling_rate=sampling_rate)) as reader:
        return np.concatenate([np.empty((0, reader.channels), np.float32), *reader.blocks()])


def segment(audio: np.ndarray, options: SegmentOptions | None = None) -> list[Segment]:
    """Return the segments of a recording, [n] or [n, channels] float32 at 16 kHz; they tile every channel.

    Args:
        audio: the samples.
        options: how the recording is cut; windows of 10 s of the mix when left out.

    Raises:
        BadRecordingError: none of the chosen channels exists.
    """
    from emolake.pipeline.loaded_models import speech_detector
    from emolake.tasks.segment import segment

    blocks = iter([audio[:, None] if audio.ndim == 1 else audio])
    return list(segment(blocks, options=options or SegmentOptions(), vad=speech_detector()))
