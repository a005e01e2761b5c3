"""Family "yamnet": sound events of YAMNet as emotions (Speech, Laughter, Crying, Screaming, Shout).

Of YAMNet's 521 sound events five stand for an emotion, by their display name; the scores of all others are dropped.
The five scores are averaged over a segment's patches of 0.96 s; where none reaches the threshold the segment has no
label. They are independent sigmoids, so probabilities are the five divided by their sum. Front end, padding and network
are those of https://github.com/tensorflow/models/tree/master/research/audioset/yamnet (`features.py`, `yamnet.py`,
Apache-2.0), in torch: TensorFlow is not needed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field

from emolake.errors import ConfigurationError
from emolake.models.families.yamnet_class_map import CLASS_MAP_FILE, EVENTS, event_columns
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE
from emolake.options import Options

if TYPE_CHECKING:
    import torch


class YamnetOptions(Options):
    """The keys of a model of this family."""

    model: Path
    """The published Keras weights `yamnet.h5`, an ONNX file, or a folder that `yamnet_convert` wrote."""
    class_map: Path | None = None
    """YAMNet's `yamnet_class_map.csv`; the file of that name beside the weights when left out."""
    threshold: float = Field(0.1, gt=0, lt=1)
    """The least score, 0 to 1, that one of the five events must reach on average for a segment to have a label.
    YAMNet's scores are not calibrated; raise it where noise is taken for voices."""


class Yamnet:
    """A loaded YAMNet. See `emolake.models.protocol.EmotionModel`."""

    Options = YamnetOptions
    family = "yamnet"
    labels: tuple[str, ...] = EVENTS
    sampling_rate = 16_000
    min_samples = (
        400  # a frame: a patch is filled up with zeros, of which a clip is to be more than a part of one
    )
    max_samples: int | None = None
    batching = Batching.MASKED  # patches are scored one by one, and only a clip's own are averaged
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(
        self,
        scores: "Callable[[torch.Tensor], torch.Tensor]",
        columns: list[int],
        *,
        threshold: float,
        device: str,
    ) -> None:
        self.device = device
        self._scores = scores  # patches [N, 96, 64] to scores [N, events], 0 to 1
        self._columns = columns
        self._threshold = threshold

    @classmethod
    def describe(cls, options: YamnetOptions) -> Description:
        """Find weights and class map; see `emolake.models.protocol.Family`."""
        class_map = _class_map(options)
        event_columns(class_map)
        model = options.model
        files = (
            {WEIGHTS_FILE: model / WEIGHTS_FILE, CONFIG_FILE: model / CONFIG_FILE}
            if model.is_dir()
            else {"weights": model}
        )
        files = {**files, CLASS_MAP_FILE: class_map}
        missing = [path for path in files.values() if not path.is_file()]
        if missing:
            raise ConfigurationError(
                f"there is no {missing[0]}; give yamnet.h5, a converted folder or an ONNX file"
            )
        return Description(EVENTS, files, {"threshold": options.threshold}, licence="Apache-2.0")

    @classmethod
    def load(cls, options: YamnetOptions, *, device: str, precision: str) -> Self:
        """Load the network; an ONNX file runs on the CPU whatever the device."""
        from emolake.models.families import yamnet_weights
        from emolake.models.families.yamnet_scores import OnnxScores

        cls.describe(options)
        columns, events = event_columns(_class_map(options))
        path = options.model
        scores: Callable[[torch.Tensor], torch.Tensor]
        if path.suffix == ".onnx":
            device = "cpu"
            scores = OnnxScores(path, events)
        else:
            state = yamnet_weights.read_folder(path) if path.is_dir() else yamnet_weights.read_h5(path)
            scores = yamnet_weights.filled_network(state, events, path).to(device)
        return cls(scores, columns, threshold=options.threshold, device=device)

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are logarithms of the normalised scores."""
        import torch

        from emolake.models.families.yamnet_scores import mean_scores

        with torch.inference_mode():
            means = mean_scores(waves.to(self.device), lengths.to(self.device), self._scores, self._columns)
        floored = means.clamp_min(torch.finfo(torch.float32).tiny)
        logits = torch.log(floored / floored.sum(dim=1, keepdim=True))
        return Prediction(logits.to(torch.float32), labelled=means.amax(dim=1) >= self._threshold)

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`; an ONNX file has no modules."""
        import torch

        return {"model": self._scores} if isinstance(self._scores, torch.nn.Module) else {}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`; only the last layer is used."""
        return {}


def _class_map(options: YamnetOptions) -> Path:
    if options.class_map is not None:
        return options.class_map
    return (options.model if options.model.is_dir() else options.model.parent) / CLASS_MAP_FILE
