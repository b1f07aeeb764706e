"""Third-party environments: Gymnasium ids and functions that make an environment."""
