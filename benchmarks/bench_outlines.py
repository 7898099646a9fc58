"""Outlines in view, rebuilt as the camera moves, beside napari's own Shapes layer.

Processor time of the main thread; drawing by the graphics card is left out.
Run with `python benchmarks/bench_outlines.py`, under xvfb where there is no screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import napari
import numpy as np
import pandas as pd
from napari.components import ViewerModel

from celldyn.data import RadialPolygons
from celldyn.data.elements_molecules import molecules_of_frame
from celldyn.jobs import run
from napari_celldyn.layers.molecules import MoleculeMarks, gene_table, gene_values
from napari_celldyn.layers.outlines import OutlineMarks, prepare_job
from napari_celldyn.layers.view_mesh import ViewMesh, plain, stepped

REPEATS = 7
N_RAYS = 24
N_SHAPES = 10_000
BAR_MS = 50


def milliseconds(act: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median processor time of the main thread."""
    took = []
    for _ in range(repeats):
        start = time.thread_time()
        act()
        took.append(time.thread_time() - start)
    return 1e3 * float(np.median(took))


def report(what: str, ours: float, bar: float | None = None, note: str = "") -> None:
    verdict = "" if bar is None else f"{bar:6.0f} ms  {'ok' if ours <= bar else 'OVER'}"
    print(f"{what:46s} {ours:10.2f} ms {verdict:16s} {note}")


def cells(n: int) -> RadialPolygons:
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(n)))
    at = np.arange(n)
    xy = np.column_stack([at % side, at // side]) * 10.0 + rng.normal(0, 1, (n, 2))
    return RadialPolygons.of(xy, rng.uniform(3.5, 4.5, (n, N_RAYS)).astype(np.float32))


def longest_step(held: RadialPolygons) -> float:
    """The longest silence of the job that prepares outlines."""
    last, longest = time.perf_counter(), 0.0
    for _ in prepare_job(held):
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return 1e3 * max(longest, time.perf_counter() - last)


def bench_cells(viewer: ViewerModel, n: int) -> float:
    """Rebuilds at several zooms; returns the slowest."""
    held = cells(n)
    name = f"{n // 1000:,}k cells"
    report(f"prepare {name}, in a job: longest step", longest_step(held), 100)
    ready = run(prepare_job(held), bar=False)
    mesh = ViewMesh(viewer, OutlineMarks(ready), plain((1, 1, 1, 1)), name=name)
    viewer.add_layer(mesh.layer)
    middle = float(held.centre.mean())
    viewer.scene.camera.center = (0, middle, middle)
    slowest = 0.0
    for zoom in (0.2, 1.0, 2.0, 4.0, 10.0, 30.0):
        viewer.scene.camera.zoom = zoom
        took = milliseconds(mesh.redraw)
        slowest = max(slowest, took)
        drawn = mesh.drawn
        report(f"  rebuild at {zoom:g} pixels per µm", took, BAR_MS, f"{drawn.n_shown:,} outlines")
    viewer.layers.remove(mesh.layer)
    return slowest


def bench_shapes(viewer: ViewerModel) -> float:
    """napari's own layer for outlines, given the same polygons once."""
    polygons = cells(N_SHAPES).polygons()
    rings = np.split(polygons.vertices[:, ::-1], polygons.start[1:-1])

    def add() -> None:
        layer = viewer.add_shapes(rings, shape_type="polygon", edge_width=0.3)
        viewer.layers.remove(layer)

    return milliseconds(add, 1)


def bench_same(viewer: ViewerModel) -> float:
    """The same ten thousand outlines in one of our layers, all in view, from nothing."""
    held = cells(N_SHAPES)
    viewer.scene.camera.center = (0, 500, 500)
    viewer.scene.camera.zoom = 0.8

    def add() -> None:
        ready = run(prepare_job(held), bar=False)
        mesh = ViewMesh(viewer, OutlineMarks(ready), plain((1, 1, 1, 1)))
        viewer.add_layer(mesh.layer)
        mesh.redraw()
        assert mesh.drawn is not None
        assert mesh.drawn.n_shown == N_SHAPES
        viewer.layers.remove(mesh.layer)

    return milliseconds(add, 3)


def bench_molecules(viewer: ViewerModel, n: int) -> None:
    rng = np.random.default_rng(1)
    genes = [f"gene {i}" for i in range(8)]
    frame = pd.DataFrame(
        {
            "x": rng.uniform(0, 10_000, n).astype(np.float32),
            "y": rng.uniform(0, 10_000, n).astype(np.float32),
            "feature_name": pd.Categorical.from_codes(rng.integers(0, 8, n), genes),
        }
    )
    marks = MoleculeMarks(molecules_of_frame(frame))
    colours, limits = stepped(gene_table(8))
    values = gene_values(marks.table, genes)
    mesh = ViewMesh(viewer, marks, colours, limits, values)
    viewer.add_layer(mesh.layer)
    viewer.scene.camera.center = (0, 5000, 5000)
    for zoom in (0.08, 0.5, 2.0, 10.0):
        viewer.scene.camera.zoom = zoom
        took = milliseconds(mesh.redraw)
        note = f"{mesh.drawn.n_shown:,} of {mesh.drawn.n_there:,} molecules"
        report(f"{n // 1000:,}k molecules at {zoom:g} pixels per µm", took, BAR_MS, note)
    viewer.layers.remove(mesh.layer)


def main() -> None:
    viewer = napari.Viewer(show=False)
    viewer.canvas.size = (900, 1400)
    slowest = [bench_cells(viewer, n) for n in (100_000, 1_000_000)]
    bench_molecules(viewer, 1_000_000)
    theirs, ours = bench_shapes(viewer), bench_same(viewer)
    report(f"napari Shapes, {N_SHAPES:,} polygons added", theirs)
    report(f"ours, the same {N_SHAPES:,} added", ours, None, f"{theirs / ours:.0f} x faster")
    report(
        "ours, slowest rebuild among 1,000k",
        slowest[-1],
        BAR_MS,
        f"{theirs / slowest[-1]:.0f} x faster than adding {N_SHAPES:,} Shapes",
    )
    viewer.close()


if __name__ == "__main__":
    main()
