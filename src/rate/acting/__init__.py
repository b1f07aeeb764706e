"""Acting: an agent from a policy, rollouts, their processes, data collection and evaluation."""
