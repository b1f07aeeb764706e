"""Training: the loop, one update, the choice of the best checkpoint, and interruption."""

from rate.training.loop import resume, train

__all__ = ["resume", "train"]
