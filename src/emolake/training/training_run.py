"""One training on disk: its log, its checkpoints, and which folder it may write to."""

import fcntl
import json
import logging
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import JsonValue

from emolake.atomic import replacing
from emolake.errors import ConfigurationError

LOG_FILE = "train.log"
CHECKPOINTS = "checkpoints"
_IDENTITY_FILE = "run.json"
_FINISHED = ("results.json", "config.json", "model.safetensors")

log = logging.getLogger("emolake.training")


@dataclass(frozen=True)
class Checkpoint:
    """One file that is replaced as a whole: whoever reads sees the old content or the new, also after a kill."""

    path: Path

    def read(self) -> dict[str, Any] | None:
        """Return the content, or None where there is none; raises ConfigurationError when it is broken."""
        try:
            content: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise ConfigurationError(
                f"the checkpoint {self.path} cannot be read ({str(error).splitlines()[0]}); start again with --force"
            ) from error
        return content

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace the content: tensors, numbers, text, and lists and dictionaries of them."""
        with replacing(self.path, durable=True) as file:
            torch.save(dict(content), file)


@dataclass(frozen=True)
class TrainingRun:
    """A training that writes `out`: what trainers need of the call beside recipe and data."""

    out: Path
    seed: int
    device: str = "cpu"
    workers: int | None = None
    """Processes for trainers that train several networks side by side; None: one for every processor."""
    cache: Path | None = None
    """Folder for features that other trainings may use too."""

    @classmethod
    def open(cls, out: Path, *, resume: bool, force: bool, **fields: Any) -> Self:
        """Take a folder for a training, before any work.

        Raises:
            ConfigurationError: the folder holds a training, and neither `resume` nor `force` says what to do with it;
                or there is nothing to resume.
        """
        if resume and force:
            raise ConfigurationError("--resume and --force contradict each other; give one of them")
        run = cls(out=out, **fields)
        finished = [name for name in _FINISHED if (out / name).exists()]
        unfinished = run.checkpoints.exists()
        if resume and not unfinished:
            what = "holds a finished training" if finished else "holds no training"
            raise ConfigurationError(f"{out} {what}, so there is nothing to resume; leave --resume out")
        if unfinished and not (resume or force):
            raise ConfigurationError(
                f"{out} holds a training that was not finished; go on with it by --resume, or start again with --force"
            )
        if finished and not (resume or force):
            raise ConfigurationError(
                f"{out} holds a finished training ({', '.join(finished)}); give another --out, or replace it with "
                "--force"
            )
        if out.exists() and not out.is_dir():
            raise ConfigurationError(f"{out} is a file; give a folder to --out")
        return run

    @property
    def checkpoints(self) -> Path:
        """Folder of everything that is there only until the training is finished."""
        return self.out / CHECKPOINTS

    @property
    def features(self) -> Path:
        """Folder for features that are computed once."""
        folder = self.cache or self.checkpoints / "features"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def checkpoint(self, name: str) -> Checkpoint:
        """Return the checkpoint of one fit or network."""
        return Checkpoint(self.checkpoints / f"{name}.pt")

    def begin(self, identity: Mapping[str, JsonValue], *, resume: bool) -> None:
        """Note what is trained, or compare it with what the folder's checkpoints are of.

        Raises:
            ConfigurationError: the training to be resumed was another one.
        """
        path = self.checkpoints / _IDENTITY_FILE
        wanted = json.loads(json.dumps(identity))
        if resume and path.exists():
            found = json.loads(path.read_text("utf-8"))
            odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            if odd:
                changes = "; ".join(
                    f"{name} was {found.get(name)!r} and is now {wanted.get(name)!r}" for name in odd
                )
                raise ConfigurationError(
                    f"the training in {self.out} was another one: {changes}; give the options and data that it was "
                    "started with, or start again with --force"
                )
            return
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        for name in _FINISHED:
            (self.out / name).unlink(missing_ok=True)
        self.checkpoints.mkdir(parents=True)
        with replacing(path, durable=True) as file:
            file.write((json.dumps(wanted, indent=2, ensure_ascii=False) + "\n").encode())

    def finish(self) -> None:
        """Remove the checkpoints of a training whose model is written."""
        shutil.rmtree(self.checkpoints)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder, and append what this package logs to its log.

        Raises:
            ConfigurationError: another training has locked it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / LOG_FILE).open("a", encoding="utf-8") as lines:
            try:
                # released by the system, also after a kill
                fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(
                    f"another training is writing to {self.out}; wait until it is done, or give another --out"
                ) from None
            handler = logging.StreamHandler(lines)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            before = log.level
            log.addHandler(handler)
            log.setLevel(logging.INFO)
            try:
                yield
            finally:
                log.removeHandler(handler)
                log.setLevel(before)
