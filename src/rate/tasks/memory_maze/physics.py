"""Motion in a maze: a rolling ball that carries a camera, by MuJoCo.

The walker's constants are those of dm_control's rolling ball with a head, which the packaged
environment uses; trajectories equal its recorded ones to the last bit.
"""

from typing import Any

import numpy as np

from rate.tasks.memory_maze.layout import CELL, TARGET_RADIUS, Maze

SUBSTEPS = 50
"""Physics steps of 5 ms in an action."""
WALL_HEIGHT = 1.5
BALL_RADIUS = 0.2
REACH = TARGET_RADIUS + BALL_RADIUS
"""Distance between the centres of ball and target at which the target is touched."""
NEAR = 2.0
"""Targets farther away than this cannot be reached in one action."""
CONTROLS = np.array([(0, 0), (-1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1)], float)
"""Roll and steer, for each action."""

_MODEL = """
<mujoco>
  <compiler boundmass="1e-5" boundinertia="1e-11" angle="radian" autolimits="true"/>
  <option timestep="0.005" cone="elliptic" noslip_iterations="5" noslip_tolerance="0"/>
  <worldbody>
    <geom type="plane" size="{side} {side} 1"/>
    {walls}
    <body>
      <joint type="slide" axis="1 0 0"/>
      <joint type="slide" axis="0 1 0"/>
      <joint type="slide" axis="0 0 1"/>
      <body pos="0 0 0.6" quat="1 0 0 -1">
        <joint name="steer" type="hinge" axis="0 0 -1" damping="20"/>
        <inertial pos="0 0 -0.08" quat="0.05876879 0.70466036 -0.05876879 0.70466036" mass="20"
          diaginertia="0.14683229 0.10987294 0.10986016"/>
        <body pos="0 0.15 0.3" zaxis="0 -0.99503719021 0.09950371902">
          <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
        </body>
        <body pos="0 0 -0.4">
          <joint name="roll" type="hinge" axis="-1 0 0" damping="5"/>
          <geom type="sphere" size="0.2" mass="1" condim="4" friction="0.5 0.02 0.02"/>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor joint="roll" gear="-50" ctrlrange="-1 1"/>
    <motor joint="steer" gear="30" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
"""


class Ball:
    """The agent's body in one maze."""

    def __init__(self, maze: Maze) -> None:
        """Put it at the start."""
        import mujoco

        self._step = mujoco.mj_step
        self._targets = maze.targets
        self.model = mujoco.MjModel.from_xml_string(_description(maze))
        self.data: Any = mujoco.MjData(self.model)
        self.data.qpos[:] = *maze.start, 0, maze.heading, 0
        mujoco.mj_forward(self.model, self.data)

    def act(self, action: int) -> np.ndarray:
        """Take an action for a quarter of a second; returns which targets were touched, [n]."""
        data = self.data
        data.ctrl[:] = CONTROLS[action]
        away = ((self._targets - data.qpos[:2]) ** 2).sum(1)
        near = np.flatnonzero(away < NEAR**2)
        touched = np.zeros(len(self._targets), bool)
        if not len(near):
            self._step(self.model, data, SUBSTEPS)
            return touched
        for _ in range(SUBSTEPS):
            self._step(self.model, data)
            x, y, z = data.qpos[:3]
            for target in near:
                there = self._targets[target]
                squared = (x - there[0]) ** 2 + (y - there[1]) ** 2 + (z + BALL_RADIUS) ** 2
                touched[target] |= squared < REACH**2
        return touched

    @property
    def pose(self) -> tuple[float, float, float]:
        """Coordinates, and the angle that the agent faces, counterclockwise from the x axis."""
        x, y, _, heading, _ = self.data.qpos
        return float(x), float(y), -float(heading)


def _description(maze: Maze) -> str:
    walls = []
    for top, bottom, left, right in maze.wall_boxes():
        x, y = maze.place((top + bottom - 1) / 2, (left + right - 1) / 2)
        half = CELL / 2
        size = f"{(right - left) * half} {(bottom - top) * half} {WALL_HEIGHT / 2}"
        walls.append(f'<geom type="box" pos="{x} {y} {WALL_HEIGHT / 2}" size="{size}"/>')
    return _MODEL.format(side=len(maze.cells), walls="".join(walls))
