"""Training: the loop, one update, and the choice of the best checkpoint."""

from rate.training.start import resume, train

__all__ = ["resume", "train"]
