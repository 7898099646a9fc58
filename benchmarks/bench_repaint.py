"""How evenly the canvas repaints while jobs run, beside the idle viewer: the bar is p95 <= 2 x.

Run it under a display, as in ``xvfb-run -a python benchmarks/bench_repaint.py --points 3000``.
Without a GPU, OpenGL in software takes half a second for each frame of 100,000 points, and hides
what the jobs do: give fewer points there. Idle is measured before each job, so that what else the
machine does weighs on both sides.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from celldyn.jobs import Pace, Progress

PERIOD_S = 1 / 30
"""The time between two frames that the viewer is asked for."""


def blas_job(seconds):
    """Products of matrices, as in a regression."""
    rng = np.random.default_rng(0)
    a, end, pace, step = rng.normal(size=(700, 700)), time.perf_counter() + seconds, Pace(), 0
    while time.perf_counter() < end:
        a = np.linalg.qr(a @ a.T)[0]
        step += 1
        if pace.due():
            yield Progress("BLAS", step)
    return step


def torch_job(seconds):
    """Training of a small network, as in the latent space."""
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(500, 128), torch.nn.ReLU(), torch.nn.Linear(128, 500)
    )
    optimiser = torch.optim.Adam(net.parameters())
    batch = torch.randn(256, 500)
    end, pace, step = time.perf_counter() + seconds, Pace(), 0
    while time.perf_counter() < end:
        optimiser.zero_grad()
        loss = (net(batch) - batch).square().mean()
        loss.backward()
        optimiser.step()
        step += 1
        if pace.due():
            yield Progress("torch", step, metrics={"loss": loss.item()})
    return step


def python_job(seconds):
    """A plain loop in Python, which a job should not be, but may have in it."""
    end, pace, step = time.perf_counter() + seconds, Pace(), 0
    while time.perf_counter() < end:
        step += 1
        if pace.due():
            yield Progress("Python", step)
    return step


def intervals(app, canvas, seconds):
    """Milliseconds from one finished redraw to the next, at most 30 a second."""
    from qtpy.QtCore import Qt, QTimer

    ends = []

    def redraw():
        canvas.native.update()

    def drawn(_):
        ends.append(time.perf_counter())

    canvas.events.draw.connect(drawn, position="last")
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(redraw)
    timer.start(round(PERIOD_S * 1000))
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        app.processEvents()
        time.sleep(0.0002)
    timer.stop()
    canvas.events.draw.disconnect(drawn)
    return np.diff(ends) * 1000


def report(rows):
    """Print one row per job."""
    idle = np.percentile(rows["idle"], 95)
    print(f"{'job':8}{'frames':>8}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'p95/idle':>10}")
    for title, row in rows.items():
        p50, p95 = np.percentile(row, [50, 95])
        print(f"{title:8}{len(row):8}{p50:9.1f}{p95:9.1f}{row.max():9.1f}{p95 / idle:10.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--points", type=int, default=100_000)
    args = parser.parse_args()
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_celldyn.jobs import JobRunner

    viewer = napari.Viewer()
    rng = np.random.default_rng(0)
    viewer.add_points(rng.uniform(0, 1000, (args.points, 2)), size=3, border_width=0)
    app = QApplication.instance()
    canvas = viewer.window._qt_window._qt_viewer.canvas._scene_canvas
    runner = JobRunner.of_viewer(viewer)
    intervals(app, canvas, 2)  # warm up
    rows = {"idle": np.empty(0)}
    for title, job in {"BLAS": blas_job, "torch": torch_job, "Python": python_job}.items():
        rows["idle"] = np.append(rows["idle"], intervals(app, canvas, args.seconds / 2))
        handle = runner.submit(title, job(args.seconds + 1), system="benchmark")
        rows[title] = intervals(app, canvas, args.seconds)
        while not handle.state.over:
            app.processEvents()
        print(f"{title}: {handle.state}, {handle.result} steps {handle.error}")
    report(rows)
    viewer.close()


if __name__ == "__main__":
    main()
