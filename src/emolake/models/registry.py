"""The models that a configuration names: their entries, and what is known of them before they are loaded."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ValidationError

from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import validation_problems
from emolake.models.inference import DEFAULT_MODEL, SHIPPED, InferenceOptions
from emolake.models.known_families import family_class, family_names
from emolake.models.personal_caches import named_folders
from emolake.models.protocol import Description, EmotionModel, ExportableFamily, Family, Runtime
from emolake.models.reliability import Reliability, read_reliability
from emolake.models.restriction import CLASSES_KEY, given_classes, kept_labels, restricted
from emolake.models.runtimes.choice import possible
from emolake.models.runtimes.devices import resolve_device
from emolake.models.runtimes.graph_cache import GraphCache, GraphRefusedError
from emolake.models.runtimes.precision_change import change_of
from emolake.models.trained_folder import (
    CONFIG_FILE,
    TrainingRecord,
    family_of_folder,
    options_of_folder,
    read_config,
)
from emolake.schemas.labels import canonical

if TYPE_CHECKING:
    from emolake.models.runtimes.graphs import Graphs

log = logging.getLogger(__name__)


class ModelChangedError(EmolakeError):
    """The files of a model are no longer those that were fingerprinted."""


@dataclass(frozen=True)
class ModelEntry:
    """A named model of the configuration: its family and that family's options. No weights are loaded yet."""

    name: str
    family: str
    options: BaseModel
    folder: Path | None = None  # that `emolake train` wrote, if the entry names one
    classes: tuple[str, ...] | None = None  # that the model is restricted to; None for all

    @property
    def _family(self) -> Family:
        return family_class(self.family)

    @property
    def precisions(self) -> Mapping[Runtime, tuple[str, ...]]:
        """The precisions that the family has, by what executes the network."""
        return self._family.precisions

    @cached_property
    def description(self) -> Description:
        """The description of the model, which is not loaded; of its labels those that `classes` keeps.

        Raises:
            ConfigurationError: a file is missing or wrong, or `classes` does not fit the labels.
        """
        return replace(self._whole, labels=tuple(compress(self._whole.labels, self._kept)))

    @cached_property
    def _whole(self) -> Description:
        """The family's description of the model, with the labels of all outputs."""
        return self._family.describe(self.options)

    @cached_property
    def _kept(self) -> tuple[bool, ...]:
        """For each output whether it is kept."""
        labels = self._whole.labels
        every = (True,) * len(labels)
        return every if self.classes is None else kept_labels(labels, self.classes, model=self.name)

    @property
    def outputs(self) -> int:
        """Number of outputs of the whole model, of which `labels` may be some."""
        return len(self._kept)

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's own labels in the order of its outputs."""
        return self.description.labels

    @property
    def licence(self) -> str:
        """Licence of the weights, as the trained folder or else the family states it."""
        return self.record.licence or self.description.licence

    @cached_property
    def record(self) -> TrainingRecord:
        """The trained folder's record of its training; empty for what was not trained by emolake."""
        if self.folder is None:
            return TrainingRecord()
        return read_config(self.folder, TrainingRecord, self.family)

    @cached_property
    def reliability(self) -> Reliability | None:
        """See `emolake.models.reliability.read_reliability`; None of a model without a trained folder."""
        return None if self.folder is None else read_reliability(self.folder)

    def abstain_below(self, inference: InferenceOptions) -> float:
        """Return the probability below which a label is uncertain: the one asked for, or what `auto` means here.

        That is what the trained folder recommends; 0 where it recommends nothing, and of a model without a folder.

        Raises:
            ConfigurationError: the folder's recommendation cannot be read.
        """
        if inference.abstain_below != "auto":
            return inference.abstain_below
        return 0.0 if self.reliability is None else self.reliability.abstain_below

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the whole model and of the outputs that are kept, where these are not all."""
        if all(self._kept):
            return self._whole_fingerprint
        kept = [place for place, is_kept in enumerate(self._kept) if is_kept]
        decides = json.dumps({"model": self._whole_fingerprint, "kept": kept}, sort_keys=True)
        return hashlib.sha256(decides.encode()).hexdigest()[:32]

    @cached_property
    def _whole_fingerprint(self) -> str:
        """Hash of family, parameters, labels and every byte that a load reads: a changed file is a changed model."""
        described = self._whole
        _ = self._files_state  # noted before the files are read: what changes meanwhile must show
        decides = {
            "family": self.family,
            "labels": described.labels,
            "parameters": dict(described.parameters),
        }
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
        for name, path in sorted(described.files.items()):
            try:
                with path.open("rb") as file:
                    digest.update(f"\n{name}\n".encode() + hashlib.file_digest(file, "sha256").digest())
            except FileNotFoundError as error:
                raise ConfigurationError(
                    f"the model {self.name!r} has no {path}; correct [models.{self.name}]"
                ) from error
        return digest.hexdigest()[:32]

    @cached_property
    def _files_state(self) -> tuple[tuple[int, ...], ...]:
        return _state(self.description.files.values())

    def check_unchanged(self) -> None:
        """Make sure that the files are still those that the fingerprint was made of; they are read only if touched.

        Raises:
            ModelChangedError: they are others.
        """
        before = self.fingerprint
        if (
            _state(self.description.files.values()) != self._files_state
            and replace(self).fingerprint != before
        ):
            raise ModelChangedError(
                f"the files of the model {self.name!r} were changed while the run was under way; run again"
            )

    def emotions(self) -> dict[str, str]:
        """Return the shared emotion of each label.

        Raises:
            UnknownLabelError: the taxonomy does not know a label.
        """
        return {label: canonical(label) for label in self.labels}

    def runtime(self, inference: InferenceOptions) -> Runtime:
        """Return what executes the network: what is asked for, or what `auto` means for this model here.

        That is onnxruntime on a processor, for a family whose network can be run as a graph, unless this model was
        refused when that was tried, or torch was much quicker when both were measured (see `prepare`).

        Raises:
            ConfigurationError: the family or this machine lacks the runtime or the precision.
        """
        first, *others = self._possible(inference)
        graphs = self._graphs(inference)
        passed_over = first == "onnx" and (graphs.refusal is not None or graphs.is_slower)
        return others[0] if passed_over and others else first

    def prepare(self, inference: InferenceOptions) -> None:
        """Settle what `runtime` is: make the graph where there is none; where `auto` asks, measure what is quicker."""
        if self.runtime(inference) != "onnx":
            return
        if not self._graphs(inference).is_made:
            self.load(inference)
        if "torch" in self._possible(inference):
            self._graphs(inference).measure(
                lambda each: self.load(inference.model_copy(update={"runtime": each})), model=self.name
            )

    def load(self, inference: InferenceOptions) -> EmotionModel:
        """Load the weights onto a device, or the graph that was exported of them.

        Raises:
            ConfigurationError: the weights do not fit the configuration, or the family, the model or this machine
                lacks the precision or runtime.
            UnknownLabelError: the taxonomy does not know a label.
        """
        self.emotions()
        model = self._load_whole(inference)
        return model if all(self._kept) else restricted(model, self._kept)

    def _load_whole(self, inference: InferenceOptions) -> EmotionModel:
        runtimes = self._possible(inference)
        device, precision = resolve_device(inference.device), inference.precision
        if device.startswith("cuda"):
            from emolake.models.runtimes.arithmetic import exact_fp32

            exact_fp32()
        model = self._load_on(runtimes, device, precision, inference)
        if precision != "fp32":
            log.warning(
                "the model %r runs in %s, which changes its answers: %s",
                self.name,
                precision,
                change_of(model),
            )
        return model

    def _load_on(
        self, runtimes: tuple[Runtime, ...], device: str, precision: str, inference: InferenceOptions
    ) -> EmotionModel:
        if runtimes[0] == "onnx" and not ("torch" in runtimes and self._graphs(inference).is_slower):
            family = cast("ExportableFamily", self._family)
            try:
                return family.load(
                    self.options, device=device, precision=precision, graphs=self._graphs(inference)
                )
            except GraphRefusedError as error:
                if "torch" not in runtimes:
                    raise ConfigurationError(
                        f"the model {self.name!r} cannot be run by onnxruntime in {precision}: {error}; "
                        "set inference.runtime to auto and inference.precision to fp32"
                    ) from error
                log.warning("the model %r runs on torch: %s", self.name, error)
        return self._family.load(self.options, device=device, precision=precision)

    def _possible(self, inference: InferenceOptions) -> tuple[Runtime, ...]:
        return possible(
            inference,
            self.precisions,
            device=lambda: resolve_device(inference.device),
            model=f"the family {self.family} of the model {self.name!r}",
        )

    def _graphs(self, inference: InferenceOptions) -> "Graphs":
        from emolake.models.runtimes.graphs import Graphs

        cache = GraphCache(inference.graph_folder, max_bytes=int(inference.graph_cache_gb * 1e9))
        return Graphs(cache, self._whole_fingerprint, inference.precision, self.check_unchanged)


@dataclass(frozen=True)
class Registry:
    """The models that a configuration names: the entries of [models], and those that are shipped."""

    models: Mapping[str, Mapping[str, Any]]
    """The entries by name: `path` of a folder that `emolake train` wrote, or `family` and its own keys."""
    chosen: str = DEFAULT_MODEL
    """The name that [inference] gives."""

    def names(self) -> list[str]:
        """Return the name of every model that the configuration can name, the shipped ones first."""
        return [*SHIPPED, *(name for name in self.models if name not in SHIPPED)]

    def entry(self, name: str | None = None, *, within: tuple[str, ...] = ()) -> ModelEntry:
        """Return a model: the given one, or the one that [inference] names.

        Args:
            name: name of the model.
            within: names of the models, from the outermost in, of which it is a member.

        Raises:
            ConfigurationError: no model has that name, or its entry is wrong.
        """
        name = name or self.chosen
        if name not in self.names():
            known = ", ".join(self.names())
            raise ConfigurationError(
                f"no model is called {name!r}; known are {known}; add [models.{name}] to the configuration"
            )
        # The context is for families that are made of other models of the configuration.
        return _validated(name, self._keys(name), {"registry": self, "within": (*within, name)})

    def _keys(self, name: str) -> Mapping[str, Any]:
        """Return the keys of a model; a shipped one is in its own folder unless they name another, or a family."""
        keys = self.models.get(name, {})
        if name in SHIPPED and not {"path", "family"} & keys.keys():
            return {"path": str(files(SHIPPED[name])), **keys}
        return keys

    def cache_folders(self) -> list[Path]:
        """Return the folders that are there of those that the entries name as caches of personal data.

        A model whose weights are missing, or that is otherwise wrong, has caches all the same.

        Raises:
            ConfigurationError: the family of an entry is unknown, and with it which of its keys name caches.
        """
        folders: set[Path] = set()
        for name in self.models:
            try:
                _, family, keys, _ = _family_and_keys(name, self._keys(name))
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"which caches of recordings [models.{name}] has is unknown: {error}; correct the entry or, when "
                    "its caches are deleted, take it out"
                ) from error
            folders |= set(named_folders(family.Options, keys))
        return sorted(folder for folder in folders if folder.is_dir())

    def entry_or_folder(self, model: str | None = None) -> ModelEntry:
        """Return a model, or else the folder of that name that `emolake train` wrote.

        Raises:
            ConfigurationError: it is neither, or its entry is wrong.
        """
        if model is None or model in self.names():
            return self.entry(model)
        if not Path(model).is_dir():
            if Path(model).name == model:
                return self.entry(model)
            known = ", ".join(self.names())
            raise ConfigurationError(
                f"there is no folder {model}; name one that `emolake train` wrote, or one of the models {known}"
            )
        folder = Path(model).resolve()
        named = {**self.models, folder.name: {"path": str(folder)}}
        return replace(self, models=named).entry(folder.name)


def _validated(name: str, entry: Mapping[str, Any], context: Mapping[str, Any]) -> ModelEntry:
    """Check an entry against its family's options."""
    keys = dict(entry)
    classes = given_classes(keys.pop(CLASSES_KEY, None), model=name)
    family, found, given, folder = _family_and_keys(name, keys)
    try:
        options = found.Options.model_validate(given, context=dict(context))
    except ValidationError as error:
        known = ", ".join((*found.Options.model_fields, CLASSES_KEY))
        raise ConfigurationError(
            f"[models.{name}] is wrong: {validation_problems(error)}; the keys of {family} are {known}"
        ) from error
    return ModelEntry(name, family, options, folder, classes)


def _family_and_keys(name: str, entry: Mapping[str, Any]) -> tuple[str, Family, dict[str, Any], Path | None]:
    """Return the family that an entry or its trained folder names, the family's own keys, and that folder if any."""
    given = dict(entry)
    path = given.get("path")
    folder = Path(path) if isinstance(path, str) and Path(path, CONFIG_FILE).is_file() else None
    family = given.pop("family", None)
    if family is None:
        if not isinstance(path, str):
            raise ConfigurationError(
                f"[models.{name}] holds {', '.join(sorted(entry)) or 'nothing'}; expected path = a folder that "
                "`emolake train` wrote, or family and its keys"
            )
        family = family_of_folder(name, Path(path))
    known = family_names()
    if family not in known:
        raise ConfigurationError(
            f"the model {name!r} is of family {family!r}; expected one of {', '.join(known)}"
        )
    found = family_class(family)
    if "family" not in entry and "path" not in found.Options.model_fields:
        given = {**options_of_folder(Path(given.pop("path"))), **given}
    return family, found, given, folder


def _state(files: Iterable[Path]) -> tuple[tuple[int, ...], ...]:
    """Return what changes when a file is replaced or written to; a file that is gone has no state."""
    states: list[tuple[int, ...]] = []
    for path in files:
        try:
            status = path.stat()
        except FileNotFoundError:
            states.append((-1,))
        else:
            states.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(states)
