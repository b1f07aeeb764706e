"""Players of the board games (RATE, Table 9)."""

from rate.tasks.popgym_players.battleship import BattleshipPlayer
from rate.tasks.popgym_players.minesweeper import MineSweeperPlayer

PLAYERS: dict[str, type] = {"Battleship": BattleshipPlayer, "MineSweeper": MineSweeperPlayer}
"""Player by the name of the environment's class without its size."""
