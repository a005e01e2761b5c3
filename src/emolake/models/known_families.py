"""The families by name: those of this package, and those that installed distributions register.

A distribution registers a family by an entry point of the group `emolake.families`: its name is the family's, its value
`module:Class`. The names of this package's families cannot be taken.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from emolake.errors import ConfigurationError
from emolake.models.protocol import Family

GROUP = "emolake.families"

# family -> module:class, imported when a model of the family is named.
FAMILIES: dict[str, str] = {
    "spectrogram_cnn": "emolake.models.families.spectrogram_cnn:SpectrogramCnn",
    "mfcc_mlp": "emolake.models.families.mfcc_mlp:MfccMlp",
    "s3prl": "emolake.models.families.s3prl:S3prl",
    "transformers": "emolake.models.families.transformers_audio:TransformersAudio",
    "classical": "emolake.models.families.classical:Classical",
    "keras": "emolake.models.families.keras_audio:KerasAudio",
    "encoder_head": "emolake.models.families.encoder_head:EncoderHead",
    "multimodal": "emolake.models.families.multimodal:Multimodal",
    "dimensional": "emolake.models.families.dimensional:Dimensional",
    "yamnet": "emolake.models.families.yamnet:Yamnet",
    "emotion2vec": "emolake.models.families.emotion2vec:Emotion2vec",
    "speechbrain": "emolake.models.families.speechbrain_interface:SpeechbrainInterface",
    "ensemble": "emolake.models.families.ensemble:Ensemble",
}


def family_names() -> list[str]:
    """Return the name of every family, sorted."""
    return sorted({*FAMILIES, *_registered()})


def family_class(name: str) -> Family:
    """Import a family.

    Args:
        name: one of `family_names`.

    Raises:
        ConfigurationError: more than one package claims the name, or its distribution's class cannot be imported or
            lacks a part of a family.
    """
    claims = _registered().get(name, ())
    if claims and (name in FAMILIES or len(claims) > 1):
        owners = [*(["emolake"] if name in FAMILIES else []), *map(_distribution, claims)]
        raise ConfigurationError(
            f"the family {name!r} is registered by {' and by '.join(owners)}; uninstall {owners[-1]}, or have it take "
            "another name"
        )
    if not claims:
        module, _, class_name = FAMILIES[name].partition(":")
        built_in: Family = getattr(import_module(module), class_name)
        return built_in
    (claim,) = claims
    try:
        family: Family = claim.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"the family {name!r} of the distribution {_distribution(claim)} cannot be imported from {claim.value} "
            f"({error}); install it again, with what it needs"
        ) from error
    lacks = [part for part in ("Options", "precisions", "describe", "load") if not hasattr(family, part)]
    if lacks:
        raise ConfigurationError(
            f"the family {name!r} of the distribution {_distribution(claim)} has no {', '.join(lacks)}; expected "
            f"{claim.value} to be a class as docs/models.md shows"
        )
    return family


@cache
def _registered() -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points of installed distributions by name."""
    found = entry_points(group=GROUP)
    return {name: tuple(found.select(name=name)) for name in found.names}


def _distribution(claim: EntryPoint) -> str:
    return claim.dist.name if claim.dist is not None else "an unknown distribution"
