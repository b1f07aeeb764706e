"""Players of the control tasks (RATE, Table 9, reactive tasks)."""

from rate.tasks.popgym_players.cartpole import CartPolePlayer, NoisyCartPolePlayer, VelocityCartPolePlayer
from rate.tasks.popgym_players.pendulum import PendulumPlayer

PLAYERS: dict[str, type] = {
    "NoisyPositionOnlyCartPole": NoisyCartPolePlayer,
    "NoisyPositionOnlyPendulum": PendulumPlayer,
    "PositionOnlyCartPole": CartPolePlayer,
    "PositionOnlyPendulum": PendulumPlayer,
    "VelocityOnlyCartPole": VelocityCartPolePlayer,
}
"""Player by the name of the environment's class without its size."""
