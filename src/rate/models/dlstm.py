"""Decision LSTM: a recurrent network over returns-to-go, observations and actions (baselines,
section 8).

Actions are fed while acting as they are in training; the released evaluation leaves them out.
"""

from dataclasses import dataclass

from rate.models import lstm
from rate.models.backbone import ALL_TOKENS


@dataclass(frozen=True)
class Config(lstm.Config):
    """Decision LSTM: steps three times per environment step, once for each of return-to-go,
    observation and action."""

    @property
    def tokens(self) -> tuple[str, ...]:
        return super().tokens if self.observation_only else ALL_TOKENS
