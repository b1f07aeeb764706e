"""Objectives: what a policy is trained for, one per file, whose name is the objective's name."""

from rate.configs import Configs

OBJECTIVES = Configs("objective", "rate.objectives", "rate.objectives.objective:ObjectiveConfig")
"""Objectives by name."""
