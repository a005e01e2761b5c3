"""The form of speech encoders in which a processor computes them in bf16, or in int8 row by row.

Matrix products, convolutions and those of attention take factors of bfloat16 and add up in float32; in int8 most linear
layers are `RowWiseLinear`s instead. Norms, softmax, the sums between layers, the means over time and all that is behind
the encoders are in float32. A row of a result depends on its own segment alone, so that batches of segments of one
length give what each gives alone.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from emolake.models.runtimes.row_wise import RowWiseLinear

PRECISIONS = ("bf16", "int8")
_ATTENTION = "emolake_on_processor"  # its name in transformers
# Of an operation's weights [heads, T, T] so many bytes are at work at once: what the second cache holds.
_CACHED_BYTES = 2**20
_ROWS_AT_ONCE = 256  # of a feed-forward block in int8, whose wide activations then stay in the cache
# Names of the layers of a feed-forward block, and of the activation between them, in transformers.
_FEED_FORWARD = (
    ("fc1", "activation_fn", "fc2"),
    ("intermediate_dense", "intermediate_act_fn", "output_dense"),
)
# Layers that stay in bf16 in int8: a quarter of a transformer's products, which changed probabilities on real speech
# more than the feed-forward blocks do.
_IN_HALF = ("q_proj", "k_proj", "v_proj")
# Sums of exponentials between these two were neither cut off above nor below.
_LARGEST_SUM, _SMALLEST_SUM = 2.0**100, 2.0**-100
# What a layer gives that is so many times wider than its input, the first of a feed-forward block, stays in bf16.
_WIDER = 2


def lower(encoder: Any, precision: str) -> None:
    """Give an encoder of transformers in float32 the form for one of `PRECISIONS`, in place.

    In int8 the queries, keys and values are computed in bf16.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask
    from transformers.models.hubert.modeling_hubert import HubertAttention
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Attention
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention
    from transformers.models.whisper.modeling_whisper import WhisperAttention

    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, eager_mask)
    encoder.set_attn_implementation(_ATTENTION)
    for part in list(encoder.modules()):
        if isinstance(part, WhisperAttention | HubertAttention | Wav2Vec2Attention):
            _join_attention(part)
    for parent, name, part in list(_parts(encoder)):
        if isinstance(part, nn.Linear) and name != "gru_rel_pos_linear":  # WavLM's: eight numbers of a head
            is_int8 = precision == "int8" and name not in _IN_HALF
            setattr(parent, name, RowWiseLinear(part) if is_int8 else HalfLinear(part))
        elif isinstance(part, nn.Conv1d):
            part.to(torch.bfloat16)
            part.forward = partial(_convolution, part)  # type: ignore[method-assign]
        elif isinstance(part, nn.LayerNorm | nn.GroupNorm):
            part.forward = partial(_norm, part)  # type: ignore[method-assign]
        elif isinstance(part, WavLMAttention):
            part.torch_multi_head_self_attention = partial(  # type: ignore[method-assign, assignment]
                _biased_attention, part
            )
    if precision == "int8":
        _join_feed_forward(encoder)


def _join_attention(attention: Any) -> None:
    """Let a layer's attention compute queries, keys and values as one product, in place."""
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    joined = nn.Linear(attention.embed_dim, sum(part.out_features for part in parts))
    weights = torch.cat([part.weight for part in parts])
    biases = torch.cat(
        [part.weight.new_zeros(part.out_features) if part.bias is None else part.bias for part in parts]
    )
    # of base 2, whose powers a processor has sooner
    scale = torch.ones_like(biases)
    scale[: attention.q_proj.out_features] = attention.scaling / math.log(2)
    joined.load_state_dict({"weight": weights * scale[:, None], "bias": biases * scale})
    attention.joined = HalfLinear(joined)
    del attention.q_proj, attention.k_proj, attention.v_proj
    attention.forward = partial(_joined_attention, attention)


def _join_feed_forward(encoder: nn.Module) -> None:
    """Replace the layers of every feed-forward block by one `FeedForward` and identities."""
    for part in list(encoder.modules()):
        for names in _FEED_FORWARD:
            if all(hasattr(part, name) for name in names):
                block = FeedForward(*(getattr(part, name) for name in names))
                for name, put in zip(names, (block, nn.Identity(), nn.Identity()), strict=True):
                    setattr(part, name, put)


class HalfLinear(nn.Module):
    """A linear layer with factors of bfloat16, packed for oneDNN."""

    def __init__(self, linear: nn.Linear) -> None:
        """Take a layer's weights."""
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().bfloat16())
        self._bias = None if linear.bias is None else linear.bias.detach().bfloat16()
        self._keeps_half = linear.out_features > _WIDER * linear.in_features

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs [..., out] of inputs [..., in]: in float32, or in bfloat16 of a wide layer."""
        outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs.bfloat16(), self._packed, self._bias, "none", [], ""
        )
        return outputs if self._keeps_half else outputs.float()


class FeedForward(nn.Module):
    """Two linear layers and the activation between them, over some rows at a time."""

    def __init__(
        self, first: nn.Module, activation: Callable[[torch.Tensor], torch.Tensor], second: nn.Module
    ) -> None:
        super().__init__()
        self.first, self.activation, self.second = first, activation, second

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs of the second layer, [..., out] float32, of inputs [..., in]."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        # nearly equal parts: a rest of a single row would be computed in another way
        parts = rows.tensor_split(-(-len(rows) // _ROWS_AT_ONCE))
        outputs = torch.cat([self.second(self.activation(self.first(part))) for part in parts])
        return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1])


def _parts(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Yield every part with its parent and its name there."""
    for parent in module.modules():
        for name, part in parent.named_children():
            yield parent, name, part


def _convolution(convolution: nn.Conv1d, inputs: torch.Tensor) -> torch.Tensor:
    outputs: torch.Tensor = convolution._conv_forward(inputs.bfloat16(), convolution.weight, convolution.bias)
    return outputs


def _norm(norm: nn.LayerNorm | nn.GroupNorm, inputs: torch.Tensor) -> torch.Tensor:
    plain: Any = type(norm).forward
    outputs: torch.Tensor = plain(norm, inputs.float())
    return outputs


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return the states [B, T, heads, D] bfloat16 of queries, keys and values [B, heads, T, D]; see transformers."""
    query = (query if scaling == 1.0 else query * scaling).bfloat16()
    return _by_heads(query, key.bfloat16(), value.bfloat16(), attention_mask, _softmax_attended), None


def _by_heads(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    attended: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor],
) -> torch.Tensor:
    """Return the states [B, T, heads, D] that `attended` gives of a few heads of one segment at a time.

    Their weights stay in the cache. A `mask` [B, heads or 1, T, T] is added to the products.
    """
    size, heads, frames, width = query.shape
    at_once = max(1, _CACHED_BYTES // (2 * frames * key.shape[2]))
    states = query.new_empty(size, frames, heads, width)
    for member in range(size):
        for first in range(0, heads, at_once):
            some = slice(first, first + at_once)
            own = None if mask is None else mask[member] if mask.shape[1] == 1 else mask[member, some]
            states[member, :, some] = attended(
                query[member, some], key[member, some], value[member, some], own
            ).transpose(0, 1)
    return states


def _softmax_attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Return the states [heads, T, D] bfloat16 of queries that are scaled."""
    weights = torch.bmm(query, key.transpose(1, 2))
    if mask is not None:
        weights = weights + mask
    weights = weights.softmax(dim=-1)  # of bfloat16 it is computed in float32
    return torch.bmm(weights.bfloat16(), value)


def _joined_attention(
    attention: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
) -> tuple[torch.Tensor, None]:
    """Return what a layer's attention gives, whose projections `_join_attention` made one; see transformers."""
    size, frames, _width = hidden_states.shape
    joined = attention.joined(hidden_states).view(size, frames, 3, attention.num_heads, attention.head_dim)
    query, key, value = joined.permute(2, 0, 3, 1, 4)
    states = _by_heads(query, key, value, attention_mask, _powers_attended)
    return attention.out_proj(states.flatten(2)), None


def _powers_attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Return the states [heads, T, D] bfloat16 of queries, whose products with keys are logarithms of base 2.

    The largest of a row is not subtracted, which would be a third of the work; where a sum of powers is too large or
    too small for that, it is.
    """
    logits = torch.bmm(query, key.transpose(1, 2))
    if mask is not None:
        logits = (logits + mask).bfloat16()
    weights = logits.exp2()
    sums = weights.sum(dim=-1, keepdim=True, dtype=torch.float32)
    if bool((sums.amax() < _LARGEST_SUM) & (sums.amin() > _SMALLEST_SUM)):
        return torch.bmm(weights, value) / sums
    weights = (logits.float() * math.log(2)).softmax(dim=-1)
    return torch.bmm(weights.bfloat16(), value)


def _biased_attention(
    module: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, bias: torch.Tensor
) -> tuple[torch.Tensor, None]:
    """Return what WavLM's attention gives, whose `bias` [B * heads, T, T] is added to the products of its own frames.

    `attention_mask` [B, T] has 1 for those.
    """
    size, frames, _ = hidden_states.shape
    added = bias.view(size, module.num_heads, frames, frames)
    if attention_mask is not None:
        added = added.masked_fill(attention_mask.ne(1)[:, None, None], torch.finfo(added.dtype).min)
    query, key, value = (
        projection(hidden_states).unflatten(2, (module.num_heads, -1)).transpose(1, 2)
        for projection in (module.q_proj, module.k_proj, module.v_proj)
    )
    states, _ = _attention(module, query, key, value, added, scaling=module.scaling)
    return module.out_proj(states.flatten(2)), None
