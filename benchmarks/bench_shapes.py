"""Cells by radii on common rays beside the exact clip: Voronoi cells cut with discs.

CPU seconds of one thread on the same 100,000 cells, and how much area the rays lose; then what
nuclei and cells of a million take on all cores.
"""

from __future__ import annotations

import resource
import time

import numpy as np
import pandas as pd
import shapely
from scipy.spatial import Voronoi
from threadpoolctl import threadpool_limits

from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.layout.points import positions
from celldyn.simulate.shapes.arrays import nuclei_to_cells_voronoi
from celldyn.simulate.shapes.making import make_shapes
from celldyn.simulate.shapes.tessellation import get_expansion_radius

N_CELLS = 100_000
LARGE = 1_000_000


def tissue(n_cells):
    config = SimulationConfig(n_cells=n_cells, n_celltype=3, n_genes=60)
    xy = positions(n_cells, config.canvas_um, config.min_distance_um, 0, "place")
    cells = pd.DataFrame(
        {
            "celltype": pd.Categorical.from_codes(
                np.arange(n_cells) % 3, pd.Index(config.celltype_names)
            ),
            "x": xy[:, 0],
            "y": xy[:, 1],
            "section": pd.Categorical(np.repeat(config.section_names, n_cells)),
            "prototype": 0,
        }
    )
    return config, cells, xy


def exact(xy, canvas, reach):
    """Return the polygons of all cells: Voronoi regions, within reach and on the canvas."""
    width, height = canvas
    ghosts = np.array(
        [[-width, 0.5 * height], [2 * width, 0.5 * height], [0.5 * width, -height],
         [0.5 * width, 2 * height]]
    ) * 10.0  # fmt: skip
    diagram = Voronoi(np.concatenate([xy, ghosts]))
    rings = [diagram.regions[diagram.point_region[k]] for k in range(len(xy))]
    size = np.array([len(ring) for ring in rings])
    corners = diagram.vertices[np.concatenate(rings)]
    regions = shapely.polygons(
        shapely.linearrings(corners, indices=np.repeat(np.arange(len(xy)), size))
    )
    discs = shapely.buffer(shapely.points(xy), reach, quad_segs=8)
    inside = shapely.intersection(regions, discs)
    return shapely.intersection(inside, shapely.box(0, 0, width, height))


def on_rays(xy, canvas, reach, n_rays):
    """Run the shipped function, to the same end."""
    radii = np.full((len(xy), n_rays), 3.0)
    shapes = nuclei_to_cells_voronoi(xy, radii, expansion_um=reach, canvas_um=canvas, threads=1)
    return shapes, shapes.polygons("cell")


def seconds(work, *arguments, repeats=2):
    """Return the best CPU seconds of a few runs, and the last result."""
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        result = work(*arguments)
        taken.append(time.process_time() - started)
    return min(taken), result


def main():
    config, _, xy = tissue(N_CELLS)
    reach = get_expansion_radius(N_CELLS / np.prod(config.canvas_um))
    with threadpool_limits(limits=1):
        slow, clipped = seconds(exact, xy, config.canvas_um, reach)
        area = shapely.area(clipped).mean()
        for n_rays in (16, 24):
            fast, (shapes, _) = seconds(on_rays, xy, config.canvas_um, reach, n_rays)
            mine = shapes.areas("cell").mean()
            print(
                f"{N_CELLS} cells, {n_rays} rays: exact {slow:.2f} CPU s, rays {fast:.2f} CPU s; "
                f"ratio {slow / fast:.1f}; mean area {area:.2f} and {mine:.2f} µm² "
                f"({mine / area - 1:+.1%})"
            )
    for n_cells in (N_CELLS, LARGE):
        config, cells, _ = tissue(n_cells)
        wall, cpu = time.perf_counter(), time.process_time()
        make_shapes(config, cells)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(
            f"{n_cells} nuclei and cells: {cpu:.2f} CPU s, {wall:.2f} s wall; "
            f"peak RSS of the run {peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
