"""RATE as the authors' released code computes it, quirks included: for policies that it trained
(`rate convert`), and for comparisons.

It overrides what the released class does differently: post-norm layers add their input twice, keys
ahead of a memory query carry misplaced positional terms, the cache enters un-normalised and holds
one level more, images are encoded without normalisation, and tanh follows some encoders.
docs/fidelity.md has the whole list.
"""

from dataclasses import dataclass

import gymnasium
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rate.images import stacked_space
from rate.models import rate
from rate.models.backbone import Stream
from rate.models.encoders import CategoryEncoder, ObservationEncoder, nature
from rate.models.nn.transformer import Layer, RelativeAttention, View
from rate.models.policy import Policy
from rate.spaces import is_image, leaves
from rate.values import NotNegative


class ReleasedAttention(RelativeAttention):
    """Relative attention whose positional term comes from the pad-and-reshape shift.

    The shift is right for keys up to the query itself. The next key gets no positional term, and a
    key j further ahead gets the term that the next query row has for the position j - t, one row of
    t keys to the left.
    """

    def weights(self, content: Tensor, rotated: Tensor, keys: Tensor, view: View) -> Tensor:
        """See `RelativeAttention.weights`; the table holds the positions j and j - t side by side,
        [t, 2 d], where a query sees keys ahead of it."""
        if view.ahead is None:
            return super().weights(content, rotated, keys, view)
        plain, wrapped = view.table.transpose(-1, -2).chunk(2, -2)
        misplaced = F.pad(rotated[:, :, 1:], (0, 0, 0, 1)) @ wrapped
        misplaced = misplaced.masked_fill(view.ahead == 1, 0.0)
        position = torch.where(view.ahead > 0, misplaced, rotated @ plain)
        scores = (content @ keys.transpose(-1, -2) + position) * self.head_width**-0.5 + view.mask
        return scores.softmax(-1)

    def attend(
        self, content: Tensor, rotated: Tensor, keys: Tensor, values: Tensor, view: View
    ) -> Tensor:
        """See `RelativeAttention.attend`."""
        if view.ahead is None:
            return super().attend(content, rotated, keys, values, view)
        weights = self.weights(content, rotated, keys, view)
        return F.dropout(weights, self.attention_dropout, self.training) @ values

    def _recomputes(self, query: Tensor) -> bool:
        # The product with one table cannot stand for that with two.
        return False


class ReleasedLayer(Layer):
    """A layer that adds its input twice if it is post-norm, and never normalises cached hidden
    states."""

    attention_type = ReleasedAttention

    def cache_input(self, cached: Tensor) -> Tensor:
        """The cached hidden states as they are."""
        return cached

    def finish(self, inputs: Tensor, attention_input: Tensor, attended: Tensor) -> Tensor:
        """LN(2 x + A(x)) in post-norm layers, else see `Layer.finish`."""
        return super().finish(
            2 * inputs if self.kind == "trxl" else inputs, attention_input, attended
        )


class PictureEncoder(nature.Encoder):
    """Three convolutions and a linear map of pixels / 255, with PyTorch's own first weights.

    Args:
        space: An image space.
        width: Width of the tokens.
        padding: Padding of each convolution.
        tanh: Whether tanh follows.
    """

    def __init__(self, space: gymnasium.Space, width: int, padding: int, tanh: bool) -> None:
        super().__init__(space, width, padding=padding)
        self.scaling.shift.zero_()
        self.tanh = tanh
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.reset_parameters()

    def forward(self, images: Tensor) -> Tensor:
        pictures = self.scaling(images.reshape(-1, *images.shape[-3:]))
        tokens = self.linear(self.convolutions(pictures)).view(*images.shape[:-3], -1)
        return torch.tanh(tokens) if self.tanh else tokens


@dataclass(frozen=True)
class Config(rate.Config):
    """RATE as the authors' code computes it."""

    action_tanh: bool = True
    """Whether tanh follows the encoder of actions."""
    return_tanh: bool = False
    """Whether tanh follows the encoder of returns-to-go."""
    image_tanh: bool = False
    """Whether tanh follows the encoder of images."""
    image_padding: NotNegative = 0
    """Padding of the convolutions of images."""
    padding_action: bool = False
    """Whether the table of actions has one more row, which stood for padding and is not used."""
    slide: NotNegative = 0
    """Steps by which the window of a model without memory slides while acting, as that of DT; 0:
    it begins anew with every segment."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slide > self.segment_length:
            raise ValueError(
                f"slide is {self.slide}, but the window has {self.segment_length} steps: let it "
                "slide by at most as many"
            )
        if self.slide and self.memorises:
            raise ValueError("slide goes with neither memory_tokens nor cached_states: set it to 0")

    @property
    def stride(self) -> int:
        return self.slide or self.segment_length

    @property
    def context_steps(self) -> int:
        return self.segment_length - self.slide if self.slide else super().context_steps

    def build(self) -> "ReleasedTransformer":
        return ReleasedTransformer(self)

    def initialise(self, policy: nn.Module) -> None:
        """Put the encoders of the released code in the places of this library's."""
        assert isinstance(policy, Policy)
        encoders = policy.encoders
        space = stacked_space(policy.observation_space, policy.stack_frames)
        seen = encoders["observation"]
        assert isinstance(seen, ObservationEncoder)
        for number, leaf in enumerate(leaves(space).values()):
            if is_image(leaf):
                options = self.image_padding, self.image_tanh
                seen.encoders[number] = PictureEncoder(leaf, self.width, *options)
        if self.padding_action and "action" in encoders:
            action = encoders["action"]
            assert isinstance(action, CategoryEncoder)
            action.embedding = nn.Embedding(action.embedding.num_embeddings + 1, self.width)
        for name, tanh in (("return_to_go", self.return_tanh), ("action", self.action_tanh)):
            if name in encoders and tanh:
                encoders[name] = nn.Sequential(encoders[name], nn.Tanh())


class ReleasedTransformer(rate.MemoryTransformer):
    """The released backbone; cached hidden states include the last layer's outputs, which nothing
    reads.

    Misplaced positional terms make read memory depend on how many tokens its segment has. These are
    counted for complete segments, as in the released training, so acting step by step equals
    `forward` at constant cost. The released evaluation counts the tokens so far and encodes memory
    anew at each step: set `segment_tokens` for that.
    """

    layer_type = ReleasedLayer

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.segment_tokens = config.segment_length * len(config.tokens)
        if config.cached_states:
            self.levels = config.layers + 1

    def _states(self, inputs: list[Tensor], outputs: Tensor) -> Tensor:
        return torch.stack([*inputs, outputs], 1)

    def _view(
        self,
        index: Tensor,
        last: Tensor,
        keys: slice,
        count: Tensor,
        earliest: Tensor | None = None,
    ) -> View:
        view = super()._view(index, last, keys, count, earliest)
        if not self.config.memory_tokens:  # nothing is seen ahead
            return view
        ahead = self.positions.index[keys] - index.unsqueeze(-1)
        return view._replace(ahead=ahead.unsqueeze(1))

    def _table(self, keys: slice, count: Tensor) -> Tensor:
        """Cosines and sines of key positions j and j - t, with t the keys of the complete segment,
        [t, 2 d], or [B, 1, t, 2 d] where rows have caches of their own."""
        plain = self.positions.table[keys]
        if not self.config.memory_tokens:
            return plain
        cached = count if self.config.cached_states else count.new_zeros(1)
        total = cached + self.segment_tokens + 2 * self.config.memory_tokens
        wrapped = self.positions.index[keys] - total[:, None]
        farthest = len(self.positions.index) - 1
        cos, sin = F.embedding(wrapped.abs().clamp(max=farthest), self.positions.table).chunk(2, -1)
        both = torch.cat([cos, sin * wrapped.sign().unsqueeze(-1)], -1)
        table = torch.cat([plain.expand_as(both), both], -1)
        return table.unsqueeze(1) if self.config.cached_states else table[0]

    def _extend(
        self, stream: Stream, tokens: Tensor, memory: bool = False, outputs: bool = True
    ) -> Tensor:
        # The last layer's outputs are always computed: they are part of the cache.
        index = stream.next_positions(tokens.shape[1])
        hidden = super()._extend(stream, tokens, memory)
        if self.config.cached_states:
            stream["states"][stream.row_numbers, index, self.config.layers] = hidden
        return hidden
