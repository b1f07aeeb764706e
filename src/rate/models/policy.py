"""A policy: step encoders, a backbone with memory, an action head; built from spaces, never from a
name."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import torch
from torch import Tensor, nn

from rate.images import stacked_space
from rate.models.backbone import Memory, ModelConfig, Stream
from rate.models.encoders import Normalisation, ObservationEncoder, ReturnEncoder, action_encoder
from rate.models.heads import allowed, head, mask_leaf
from rate.segment import Segment


class Policy(nn.Module):
    """Maps segments of (return-to-go, observation, action) to action outputs, with memory between
    segments."""

    def __init__(
        self,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        config: ModelConfig,
        normalisation: Normalisation | None = None,
        return_scale: float = 1.0,
        stack_frames: int = 1,
    ) -> None:
        """Make a policy with fresh weights.

        Args:
            observation_space: One observation as the environment gives it.
            action_space: One action.
            config: The model.
            normalisation: Mean and standard deviation of observation leaves, by path.
            return_scale: What returns-to-go are divided by.
            stack_frames: Frames of an image that are stacked, see `rate.images`.
        """
        super().__init__()
        self.stack_frames = stack_frames
        self.observation_space, self.action_space, self.config = (
            observation_space,
            action_space,
            config,
        )
        self.backbone = config.build()
        self.head = head(action_space, config.width, config.action_head)
        self.mask = mask_leaf(observation_space, self.head)
        self.tokens = config.tokens
        self.target = self.tokens.index("observation")
        seen = stacked_space(observation_space, stack_frames)
        encoders: dict[str, nn.Module] = {
            "observation": ObservationEncoder(
                seen, config.width, normalisation or {}, config.encoder
            )
        }
        if "return_to_go" in self.tokens:
            encoders["return_to_go"] = ReturnEncoder(config.width, return_scale)
        if "action" in self.tokens:
            encoders["action"] = action_encoder(action_space, config.width)
        self.encoders = nn.ModuleDict(encoders)
        self.timesteps = nn.Embedding(config.timesteps, config.width) if config.timesteps else None
        config.initialise(self)

    def initial_memory(self, batch: int) -> Memory:
        """Memory before the first segment of `batch` episodes."""
        return self.backbone.initial_memory(batch)

    def forward(
        self, segment: Segment, memory: Memory, complete: int | None = None
    ) -> tuple[Tensor, Memory]:
        """Action outputs of a segment, and the memory after it.

        Args:
            segment: [B, K]. A row without padding counts as complete, whatever its length: split
                windows by `training_segment_length`.
            memory: Memory before the segment.
            complete: The first so many rows write memory, the others keep what they came with; at 0
                nothing is written. By default `segment.complete`, the rows without padding.

        Returns:
            Outputs [B, K, outputs] and memory.
        """
        complete = segment.complete if complete is None else complete
        hidden, memory = self.backbone(self.encode(segment), memory, complete)
        outputs = self.head(hidden[:, self.target :: len(self.tokens)])
        return allowed(outputs, segment.observations, self.mask), memory

    def encode(self, segment: Segment) -> Tensor:
        """Tokens of a segment's steps in order, [B, K x tokens, d]."""
        values = {
            "return_to_go": (segment.returns_to_go,),
            "observation": (segment.observations, segment.frames),
            "action": (segment.actions,),
        }
        return self.embed(values, segment.timesteps)

    def embed(self, values: Mapping[str, tuple[Any, ...]], timesteps: Tensor) -> Tensor:
        """Tokens of steps in order, [B, K x tokens, d].

        Args:
            values: What each token's encoder takes, by token.
            timesteps: Index of each step in its episode, [B, K].
        """
        tokens = [self.encoders[name](*values[name]) for name in self.tokens]
        return self._stamped(tokens, [timesteps]).flatten(1, 2)

    def encoded_frames(self, segment: Segment) -> dict[str, Tensor]:
        """`Segment.frames` as far encoded as each frame can be by itself, for several parts of a
        window: to tokens [n, d], or scaled where several are stacked."""
        encoder = self.encoders["observation"]
        assert isinstance(encoder, ObservationEncoder)
        return encoder.prepare(segment.observations, segment.frames)

    def observe(
        self,
        stream: Stream,
        observations: dict[str, Tensor],
        returns_to_go: Tensor,
        actions: Tensor | None = None,
        timesteps: Tensor | None = None,
    ) -> Tensor:
        """Action outputs [B, outputs] for the newest observations, appended to the stream.

        Args:
            stream: The segment under way.
            observations: Leaves [B, ...].
            returns_to_go: [B].
            actions: Actions of the step before, [B, ...]; given, they are appended first.
            timesteps: Index of the newest step in its episode, [B], for models that embed it.
        """
        values = {"return_to_go": returns_to_go, "observation": observations}
        newest = [self.encoders[name](values[name]) for name in self.tokens[: self.target + 1]]
        times = [timesteps] * len(newest)
        if actions is not None:
            earlier = self._after_observation(actions)
            newest = earlier + newest
            times = [None if timesteps is None else timesteps - 1] * len(earlier) + times
        outputs = self.head(self.backbone.append(stream, self._stamped(newest, times))[:, -1])
        return allowed(outputs, observations, self.mask)

    def record(self, stream: Stream, actions: Tensor, timesteps: Tensor | None = None) -> None:
        """Append what follows an observation, once the actions [B, ...] of the steps `timesteps`
        [B] are known."""
        if tokens := self._after_observation(actions):
            self.backbone.append(stream, self._stamped(tokens, [timesteps]))

    def _after_observation(self, actions: Tensor) -> list[Tensor]:
        return [self.encoders[name](actions) for name in self.tokens[self.target + 1 :]]

    def _stamped(self, tokens: list[Tensor], timesteps: Sequence[Tensor | None]) -> Tensor:
        """Tokens [..., n, d] from n tokens [..., d], with time steps added if the model embeds
        them: one [...] for all tokens, or one for each."""
        stacked = torch.stack(tokens, -2)
        if self.timesteps is None:
            return stacked
        given = [steps for steps in timesteps if steps is not None]
        if not given:
            raise ValueError(
                "this model embeds time steps, but none were given: pass `timesteps` [B], "
                "the index of each row's step in its episode"
            )
        # Later steps share the last row: acting goes on for longer than the table.
        last = self.timesteps.num_embeddings - 1
        return stacked + self.timesteps(torch.stack(given, -1).clamp(max=last))
