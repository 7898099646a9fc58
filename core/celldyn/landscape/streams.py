"""Lines along which cells flow on an embedding, or on the tissue.

Shapes: n cells, c axes of the embedding (2 or 3), m_i points of line i.
"""

from __future__ import annotations

from dataclasses import dataclass

from celldyn.landscape.graph import Floats


@dataclass(frozen=True, slots=True)
class Streamlines:
    """Lines that follow the arrows, evenly spaced, each from where it comes to where it goes.

    Parameters
    ----------
    lines
        (m_i, c) each, in the embedding's units.
    speeds
        (m_i,) each: length of the smoothed arrow there, in the embedding's units per time.
    time
        (m_i,) each: time since the line's first point.
    """

    lines: list[Floats]
    speeds: list[Floats]
    time: list[Floats]

    def __len__(self) -> int:
        return len(self.lines)
