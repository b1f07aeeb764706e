"""Players of the control tasks (RATE, Table 9, reactive tasks)."""

from rate.tasks.popgym_players.cartpole import CartPolePlayer, VelocityCartPolePlayer

PLAYERS: dict[str, type] = {
    "NoisyPositionOnlyCartPole": CartPolePlayer,
    "PositionOnlyCartPole": CartPolePlayer,
    "VelocityOnlyCartPole": VelocityCartPolePlayer,
}
"""Player by the name of the environment's class without its size."""
