"""Players of the board games (RATE, Table 9)."""

from rate.tasks.popgym_players.battleship import BattleshipPlayer

PLAYERS: dict[str, type] = {"Battleship": BattleshipPlayer}
"""Player by the name of the environment's class without its size."""
