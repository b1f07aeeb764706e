"""Players of the POPGym tasks, which use what was seen in the episode and nothing else."""
