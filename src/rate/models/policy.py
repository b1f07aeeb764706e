"""A policy: step encoders, a backbone with memory, an action head; built from spaces, never from a
name."""

import gymnasium
import torch
from torch import Tensor, nn

from rate.models.backbone import Memory, ModelConfig, Stream, where_rows
from rate.models.encoders import Normalisation, ObservationEncoder, ReturnEncoder, encoder
from rate.models.heads import head
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
    ) -> None:
        super().__init__()
        self.observation_space, self.action_space, self.config = (
            observation_space,
            action_space,
            config,
        )
        self.backbone = config.build()
        self.head = head(action_space, config.width)
        self.tokens = config.tokens
        self.target = self.tokens.index("observation")
        encoders: dict[str, nn.Module] = {
            "observation": ObservationEncoder(observation_space, config.width, normalisation or {})
        }
        if "return_to_go" in self.tokens:
            encoders["return_to_go"] = ReturnEncoder(config.width, return_scale)
        if "action" in self.tokens:
            encoders["action"] = encoder(action_space, config.width)
        self.encoders = nn.ModuleDict(encoders)
        self.timesteps = nn.Embedding(config.timesteps, config.width) if config.timesteps else None
        config.initialise(self)

    def initial_memory(self, batch: int) -> Memory:
        """Memory before the first segment of `batch` episodes."""
        return self.backbone.initial_memory(batch)

    def forward(
        self, segment: Segment, memory: Memory, commit: bool = True
    ) -> tuple[Tensor, Memory]:
        """Action outputs [B, K, outputs] of a segment, and the memory after it.

        Memory is written from complete segments only: rows with padded steps keep the memory they
        came with. A row without padding counts as complete, whatever its length: split windows by
        `training_segment_length`.
        """
        values = {
            "return_to_go": (segment.returns_to_go,),
            "observation": (segment.observations, segment.frames),
            "action": (segment.actions,),
        }
        tokens = self._stamped(
            [self.encoders[name](*values[name]) for name in self.tokens], segment.timesteps
        )
        tokens = tokens.flatten(1, 2)
        complete = segment.mask[:, -1]
        commit = commit and bool(complete.any())
        hidden, after = self.backbone(tokens, memory, commit)
        if commit and not bool(complete.all()):
            after = where_rows(complete, after, memory)
        return self.head(hidden[:, self.target :: len(self.tokens)]), after

    def observe(
        self,
        stream: Stream,
        observations: dict[str, Tensor],
        returns_to_go: Tensor,
        actions: Tensor | None = None,
        timesteps: Tensor | None = None,
    ) -> Tensor:
        """Action outputs [B, outputs] for the newest observations (leaves [B, ...]), appended to
        the stream.

        Given the `actions` of the step before, what follows them in the order of tokens is appended
        first. timesteps: index of the newest step in each row's episode [B], for models that embed
        it.
        """
        values = {"return_to_go": returns_to_go, "observation": observations}
        tokens = self._stamped(
            [self.encoders[name](values[name]) for name in self.tokens[: self.target + 1]],
            timesteps,
        )
        if actions is not None and self.target + 1 < len(self.tokens):
            tokens = torch.cat([self._after_observation(actions, _before(timesteps)), tokens], 1)
        return self.head(self.backbone.append(stream, tokens)[:, -1])

    def record(self, stream: Stream, actions: Tensor, timesteps: Tensor | None = None) -> None:
        """Append what follows an observation, once the actions [B, ...] of the steps `timesteps`
        [B] are known."""
        if self.target + 1 < len(self.tokens):
            self.backbone.append(stream, self._after_observation(actions, timesteps))

    def _after_observation(self, actions: Tensor, timesteps: Tensor | None) -> Tensor:
        return self._stamped(
            [self.encoders[name](actions) for name in self.tokens[self.target + 1 :]], timesteps
        )

    def _stamped(self, tokens: list[Tensor], timesteps: Tensor | None) -> Tensor:
        """Tokens of a step [..., tokens, d], with its time step [...] added if the model embeds
        it."""
        stacked = torch.stack(tokens, -2)
        if self.timesteps is None:
            return stacked
        if timesteps is None:
            raise ValueError(
                "this model embeds time steps, but none were given: pass `timesteps` [B], "
                "the index of each row's step "
                "in its episode"
            )
        # Later steps share the last row: acting goes on for longer than the table.
        return (
            stacked
            + self.timesteps(timesteps.clamp(max=self.timesteps.num_embeddings - 1))[..., None, :]
        )


def _before(timesteps: Tensor | None) -> Tensor | None:
    return None if timesteps is None else timesteps - 1
