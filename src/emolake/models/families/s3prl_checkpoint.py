"""S3PRL's checkpoints: read as tensors without running code, and refused where they hold another layout."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from emolake.errors import ConfigurationError
from emolake.models.families.s3prl_network import Head

_PARTS = {
    "Optimizer",
    "Scheduler",
    "Step",
    "Epoch",
    "Args",
    "Config",
    "WorldSize",
    "Featurizer",
    "Downstream",
}
_HEAD = {
    "projector.weight",
    "projector.bias",
    "model.post_net.linear.weight",
    "model.post_net.linear.bias",
}


def read_head(path: Path, config: Any, labels: int) -> Head:
    """Return the head of a checkpoint for an encoder of this configuration and a number of labels.

    Raises:
        ConfigurationError: the file is no checkpoint of S3PRL's Runner, or holds another layout.
    """
    checkpoint = _unpickled(path)
    unknown = sorted(set(checkpoint) - _PARTS)
    if unknown:
        hint = " (the encoder was fine-tuned with it)" if "Upstream" in unknown else ""
        raise _refused(path, f"it holds {', '.join(unknown)}{hint}")
    _check_recipe(path, checkpoint)
    weights, head = checkpoint["Featurizer"].get("weights"), dict(checkpoint["Downstream"])
    head.pop("best_score", None)
    if set(checkpoint["Featurizer"]) != {"weights"}:
        raise _refused(
            path, f"its Featurizer holds {', '.join(checkpoint['Featurizer']) or 'nothing'}, expected weights"
        )
    if set(head) != _HEAD:
        odd = sorted(set(head) ^ _HEAD)
        raise _refused(path, f"its Downstream differs by {', '.join(odd)}")
    states = config.num_hidden_layers + 1
    if tuple(weights.shape) != (states,):
        raise _refused(path, f"it weighs {weights.numel()} states, and the upstream has {states}")
    projected = head["projector.weight"].shape[0]
    shapes = {name: tuple(tensor.shape) for name, tensor in head.items()}
    expected = {
        "projector.weight": (projected, config.hidden_size),
        "projector.bias": (projected,),
        "model.post_net.linear.weight": (labels, projected),
        "model.post_net.linear.bias": (labels,),
    }
    if shapes != expected:
        raise _refused(
            path,
            f"its head is {shapes}, and an upstream of {config.hidden_size} with {labels} labels needs {expected}",
        )
    return Head(weights.float(), {name: tensor.float() for name, tensor in head.items()})


def _unpickled(path: Path) -> Mapping[str, Any]:
    try:
        # Namespace is the one class that S3PRL's Runner stores beside tensors and plain values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{path} is no checkpoint that can be read without running code: {str(error).splitlines()[0]}"
        ) from error
    missing = {"Args", "Config", "Featurizer", "Downstream"} - set(
        checkpoint if isinstance(checkpoint, dict) else ()
    )
    if missing:
        raise ConfigurationError(
            f"{path} lacks {', '.join(sorted(missing))}; expected a checkpoint of S3PRL's Runner"
        )
    found: Mapping[str, Any] = checkpoint
    return found


def _check_recipe(path: Path, checkpoint: Mapping[str, Any]) -> None:
    args = vars(checkpoint["Args"])
    if args.get("upstream_feature_normalize"):
        raise _refused(path, "it was trained with upstream_feature_normalize")
    if args.get("upstream_layer_selection") is not None:
        raise _refused(path, f"it selects the layer {args['upstream_layer_selection']}")
    if args.get("upstream_feature_selection", "hidden_states") != "hidden_states":
        raise _refused(
            path, f"it was trained on {args['upstream_feature_selection']}, expected hidden_states"
        )
    recipe = checkpoint["Config"].get("downstream_expert", {}).get("modelrc", {})
    pooling = recipe.get("UtteranceLevel", {}).get("pooling")
    if recipe.get("select") != "UtteranceLevel" or pooling != "MeanPooling":
        raise _refused(
            path,
            f"its head is {recipe.get('select')} with {pooling}, expected UtteranceLevel with MeanPooling",
        )
    odd = sorted(set(recipe.get("UtteranceLevel", {})) - {"pooling"})
    if odd:
        raise _refused(path, f"its UtteranceLevel has {', '.join(odd)}")


def _refused(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not of the layout that this family computes exactly: {why}; use a head with projector, "
        "mean pooling and one linear output on frozen hidden states"
    )
