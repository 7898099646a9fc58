"""Jobs behind the window: real threads, a real event loop."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref

import anndata as ad
import numpy as np
import pytest

from celldyn.errors import DataError, JobConflictError
from celldyn.jobs import Progress
from napari_celldyn.jobs import JobRunner, JobState
from napari_celldyn.responsive import SWITCH_INTERVAL_S
from napari_celldyn.workspace import Workspace


class Big(np.ndarray):
    """An array that can be weakly referenced from a plain test."""


def big(n: int = 10_000) -> Big:
    return np.zeros(n).view(Big)


def counting(total=10, step_s=0.005, result="counted", **metrics):
    for done in range(total):
        time.sleep(step_s)
        yield Progress("count", done + 1, total, f"unit {done}", metrics)
    return result


def endless(step_s=0.005):
    done = 0
    while True:
        time.sleep(step_s)
        done += 1
        yield Progress("endless", done)


def raising(error):
    yield Progress("about to fail")
    raise error


@pytest.fixture
def workspace():
    workspace = Workspace()
    workspace.open(ad.AnnData(np.ones((4, 2), np.float32)))
    return workspace


@pytest.fixture
def runner(qapp, workspace):
    runner = JobRunner.of(workspace)
    yield runner
    assert runner.shutdown()


def wait_over(qtbot, *handles, timeout=3000):
    qtbot.waitUntil(lambda: all(handle.state.over for handle in handles), timeout=timeout)


def submit(runner, source, **named):
    return runner.submit(named.pop("title", "a job"), source, system="test", **named)


# --- the good end ---


def test_a_result_is_written_on_the_main_thread(qtbot, runner, workspace):
    where = []

    def write(result):
        where.append(threading.current_thread())
        workspace.require().obs["n"] = result
        workspace.announce({"obs/n"})

    announced = []
    workspace.keys_changed.connect(announced.append)
    source = lambda: counting(result=[1, 2, 3, 4])  # noqa: E731
    handle = submit(runner, source, writes={"obs/n"}, on_result=write)
    assert handle.state is JobState.RUNNING
    wait_over(qtbot, handle)
    assert handle.state is JobState.DONE
    assert handle.result == [1, 2, 3, 4]
    assert where == [threading.main_thread()]
    assert list(workspace.require().obs["n"]) == [1, 2, 3, 4]
    assert announced == [frozenset({"obs/n"})]
    assert not runner.busy


def test_the_job_runs_in_one_thread_that_is_not_ours(qtbot, runner):
    seen = []

    def job():
        try:
            for _ in range(3):
                seen.append(threading.current_thread())
                yield Progress("look")
        finally:
            seen.append(threading.current_thread())

    wait_over(qtbot, submit(runner, job))
    assert len(set(seen)) == 1
    assert len(seen) == 4
    assert seen[0] is not threading.main_thread()
    assert seen[0].daemon


def test_listeners_hear_on_the_main_thread_at_most_20_times_a_second(qtbot, runner):
    heard = []
    handle = submit(runner, counting(total=400, step_s=0.001))
    handle.progressed.connect(
        lambda progress: heard.append((threading.current_thread(), progress.done))
    )
    start = time.perf_counter()
    wait_over(qtbot, handle)
    took = time.perf_counter() - start
    assert {thread for thread, _ in heard} == {threading.main_thread()}
    done = [done for _, done in heard]
    assert done == sorted(done)
    assert done[-1] == 400, "the latest wins, and the last always comes"
    assert 3 <= len(done) <= 20 * took + 2


def test_every_metric_is_kept_though_listeners_are_spared(qtbot, runner):
    def job():
        for step in range(200):
            yield Progress("train", step, metrics={"loss": 1 / (step + 1)})

    handle = submit(runner, job)
    wait_over(qtbot, handle)
    times, losses = zip(*handle.metrics["loss"], strict=True)
    np.testing.assert_allclose(losses, 1 / np.arange(1, 201))
    assert list(times) == sorted(times)


def test_the_history_of_a_metric_is_bounded_and_keeps_its_end(qtbot, runner):
    def job():
        for step in range(30_000):
            yield Progress("train", step, metrics={"loss": step})

    handle = submit(runner, job)
    wait_over(qtbot, handle, timeout=8000)
    history = handle.metrics["loss"]
    assert len(history) <= 4000
    assert history[-1][1] == 29_999
    assert history[0][1] < 1000


def test_rate_and_time_left(qtbot, runner):
    handle = submit(runner, counting(total=100, step_s=0.02))
    qtbot.waitUntil(lambda: handle.progress is not None and handle.progress.done >= 30)
    assert 0 < handle.rate < 51
    left = (100 - handle.progress.done) / handle.rate
    assert handle.eta_s == pytest.approx(left, rel=1e-6)
    assert handle.elapsed_s == pytest.approx(handle.progress.done / handle.rate, rel=0.3)
    handle.cancel()
    wait_over(qtbot, handle)
    assert handle.eta_s is None


def test_a_silent_job_is_announced_all_the_same(qtbot, runner):
    release = threading.Event()

    def job():
        release.wait(5)
        yield Progress("late")

    handle = submit(runner, job)
    with qtbot.waitSignal(handle.changed, timeout=2000):
        pass
    assert handle.elapsed_s > 0.5
    release.set()
    wait_over(qtbot, handle)


def test_two_run_and_the_third_waits(qtbot, runner):
    first, second, third = (submit(runner, endless, title=f"job {i}") for i in range(3))
    qtbot.waitUntil(lambda: second.progress is not None)
    assert [h.state for h in (first, second, third)] == ["running", "running", "queued"]
    first.cancel()
    qtbot.waitUntil(lambda: third.state is JobState.RUNNING, timeout=1000)


# --- pause ---


def test_pause_stops_progress_and_resume_goes_on(qtbot, runner):
    handle = submit(runner, endless)
    qtbot.waitUntil(lambda: handle.progress is not None)
    handle.pause()
    assert handle.pausing
    qtbot.waitUntil(lambda: handle.state is JobState.PAUSED, timeout=500)
    qtbot.wait(60)
    done, elapsed, start = handle.progress.done, handle.elapsed_s, time.perf_counter()
    qtbot.wait(300)
    assert handle.progress.done == done
    handle.resume()
    qtbot.waitUntil(lambda: handle.progress.done > done, timeout=500)
    assert handle.state is JobState.RUNNING
    wall = time.perf_counter() - start
    assert handle.elapsed_s - elapsed < wall - 0.2, "the pause does not count as work"


def test_a_paused_job_can_be_cancelled(qtbot, runner):
    handle = submit(runner, endless)
    handle.pause()
    qtbot.waitUntil(lambda: handle.state is JobState.PAUSED)
    handle.cancel()
    wait_over(qtbot, handle, timeout=500)
    assert handle.state is JobState.CANCELLED


# --- cancel ---


def test_cancel_runs_finally_in_the_jobs_thread_and_frees_its_memory(qtbot, runner):
    threads, alive = {}, {}

    def make():
        given = big()
        alive["given"] = weakref.ref(given)

        def job():
            held = big()
            alive["held"] = weakref.ref(held)
            shown = big()
            alive["preview"] = weakref.ref(shown)
            threads["work"] = threading.current_thread()
            try:
                while True:
                    time.sleep(0.005)
                    yield Progress("hold", given[0], preview=shown)
            finally:
                threads["finally"] = threading.current_thread()

        return job

    written = []
    handle = submit(runner, make(), on_result=written.append)
    qtbot.waitUntil(lambda: handle.progress is not None)
    assert all(ref() is not None for ref in alive.values())
    gc.disable()  # what is freed must be freed at once, not by a later collection
    try:
        start = time.perf_counter()
        handle.cancel()
        wait_over(qtbot, handle, timeout=500)
        assert time.perf_counter() - start < 0.5
        assert handle.state is JobState.CANCELLED
        assert threads["finally"] is threads["work"] is not threading.main_thread()
        assert {name for name, ref in alive.items() if ref() is not None} == set()
    finally:
        gc.enable()
    assert written == []
    assert handle.result is None


def test_a_job_that_does_not_yield_shows_that_it_is_being_cancelled(qtbot, runner):
    def job():
        yield Progress("start")
        time.sleep(2)
        yield Progress("never seen")

    handle = submit(runner, job)
    qtbot.waitUntil(lambda: handle.progress is not None)
    qtbot.wait(50)
    with qtbot.waitSignal(handle.changed, timeout=100):
        handle.cancel()
    assert handle.cancelling
    assert handle.state is JobState.RUNNING
    wait_over(qtbot, handle)
    assert handle.state is JobState.CANCELLED
    assert not handle.cancelling
    assert handle.progress.stage == "start"


def test_a_waiting_job_is_cancelled_without_a_start(qtbot, runner):
    started = []

    def job():
        started.append(1)
        yield Progress("start")

    running = [submit(runner, endless) for _ in range(2)]
    waiting = submit(runner, job)
    waiting.cancel()
    wait_over(qtbot, waiting, timeout=500)
    assert waiting.state is JobState.CANCELLED
    runner.cancel_all()
    wait_over(qtbot, *running, timeout=500)
    assert started == []
    assert not runner.busy


def test_a_job_that_ends_although_cancelled_writes_nothing(qtbot, runner):
    asked, written = threading.Event(), []

    def job():
        yield Progress("start")
        asked.wait(5)
        return "too late"

    handle = submit(runner, job, on_result=written.append)
    qtbot.waitUntil(lambda: handle.progress is not None)
    handle.cancel()
    asked.set()
    wait_over(qtbot, handle)
    assert handle.state is JobState.CANCELLED
    assert written == []


def test_a_job_that_fails_while_closing_is_reported(qtbot, runner):
    def job():
        try:
            while True:
                yield Progress("work")
                time.sleep(0.005)
        finally:
            raise OSError("the store is gone")

    handle = submit(runner, job)
    qtbot.waitUntil(lambda: handle.progress is not None)
    handle.cancel()
    wait_over(qtbot, handle)
    assert handle.state is JobState.FAILED
    assert "cancelled" in handle.error
    assert "OSError: the store is gone" in handle.error
    assert "Traceback" in handle.failure.details


# --- failures ---

DEFECT = "This is a defect of the program: please report it with the details."


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("shapes differ\nsecond line"), f"RuntimeError: shapes differ. {DEFECT}"),
        (ValueError(), f"ValueError. {DEFECT}"),
        (KeyboardInterrupt("stop"), f"KeyboardInterrupt: stop. {DEFECT}"),
        (SystemExit(3), f"SystemExit: 3. {DEFECT}"),
        (GeneratorExit("odd"), f"GeneratorExit: odd. {DEFECT}"),
        (DataError("no counts", "give raw counts"), "no counts; give raw counts."),
        (
            MemoryError("Unable to allocate 7 GiB"),
            "The computer is out of memory; try a smaller batch or fewer cells.",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_job_raises_ends_as_one_sentence(qtbot, runner, error, sentence):
    handle = submit(runner, raising(error))
    wait_over(qtbot, handle, timeout=1000)
    assert handle.state is JobState.FAILED
    assert handle.error == sentence
    assert "\n" not in handle.error
    assert "in raising" in handle.failure.details
    assert type(error).__name__ in handle.failure.details


def test_torch_out_of_memory_is_told_as_what_it_is(qtbot, runner):
    import torch

    error = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert isinstance(error, RuntimeError)
    handle = submit(runner, raising(error))
    wait_over(qtbot, handle, timeout=1000)
    assert handle.state is JobState.FAILED
    assert handle.error == "The GPU is out of memory; try a smaller batch or cpu."
    assert "2.00 GiB" in handle.failure.details


def test_a_job_that_cannot_even_be_made_fails_too(qtbot, runner):
    def make():
        raise DataError("no tissue is open", "open one")

    handle = submit(runner, make)
    other = submit(runner, lambda: 3)
    wait_over(qtbot, handle, other)
    assert handle.error == "no tissue is open; open one."
    assert other.state is JobState.FAILED


def test_the_frames_of_a_failure_do_not_keep_their_arrays(qtbot, runner):
    alive = {}

    def deep(held):
        cycle = [held]
        cycle.append(cycle)
        try:
            raise KeyError("inner")
        except KeyError as inner:
            kept = inner  # an exception held by its own frame: a cycle
            raise RuntimeError("outer") from kept

    def job():
        held = np.zeros(1000).view(Big)
        alive["held"] = weakref.ref(held)
        yield Progress("hold")
        deep(held)

    handle = submit(runner, job)
    wait_over(qtbot, handle)
    gc.collect()
    assert handle.state is JobState.FAILED
    assert "KeyError: 'inner'" in handle.failure.details
    assert alive["held"]() is None


def test_writing_that_fails_makes_the_job_fail(qtbot, runner):
    def write(_):
        raise DataError("the table is full", "make room")

    handle = submit(runner, counting(total=1), on_result=write)
    wait_over(qtbot, handle)
    assert handle.state is JobState.FAILED
    assert handle.error == "the table is full; make room."
    assert handle.result == "counted"


def test_a_result_is_not_written_on_another_tissue(qtbot, runner, workspace):
    written = []
    handle = submit(runner, counting(step_s=0.02), writes={"obs/n"}, on_result=written.append)
    fresh = submit(runner, counting(step_s=0.02), on_result=written.append)
    workspace.open(ad.AnnData(np.ones((5, 2), np.float32)))
    wait_over(qtbot, handle, fresh)
    assert handle.state is JobState.FAILED
    assert "replaced" in handle.error
    assert "not written" in handle.error
    assert handle.result == "counted"
    assert fresh.state is JobState.DONE, "what writes nothing on the tissue may finish"
    assert written == ["counted"]


# --- conflicts, and again ---


def test_two_jobs_may_not_write_the_same_key(qtbot, runner):
    first = submit(runner, endless, title="Betas of Myc", writes={"obsm/betas_Myc", "obs/a"})
    with pytest.raises(JobConflictError, match=r"obsm/betas_Myc.*Betas of Myc") as caught:
        submit(runner, endless, title="Again", writes={"obsm/betas_Myc"})
    assert "cancel" in caught.value.remedy
    assert runner.handles == (first,)
    submit(runner, endless, title="Other", writes={"obsm/betas_Sox2"})
    waiting = submit(runner, endless, title="Waiting", writes={"obs/w"})
    assert waiting.state is JobState.QUEUED
    with pytest.raises(JobConflictError, match="Waiting"):
        submit(runner, endless, writes={"obs/w"})


@pytest.mark.parametrize("end", ["fails", "is cancelled", "is done"])
def test_run_again_after_it(qtbot, runner, end):
    source = {"fails": raising(RuntimeError("x")), "is done": counting(1)}.get(end, endless())
    first = submit(runner, source, writes={"obs/a"})
    if end == "is cancelled":
        first.cancel()
    wait_over(qtbot, first)
    again = submit(runner, counting(total=2), writes={"obs/a"})
    wait_over(qtbot, again)
    assert again.state is JobState.DONE
    runner.dismiss(first)
    assert runner.handles == (again,)


def test_a_listener_may_submit_the_next_job(qtbot, runner):
    nexts = []
    first = submit(runner, counting(total=1), writes={"obs/a"})
    first.finished.connect(
        lambda _: nexts.append(submit(runner, counting(total=1), writes={"obs/a"}))
    )
    qtbot.waitUntil(lambda: bool(nexts) and nexts[0].state is JobState.DONE)


# --- the process, and the end of the window ---


def test_the_process_is_put_back_after_the_last_job(qtbot, runner):
    import torch
    from threadpoolctl import threadpool_info

    from celldyn.devices import spare_threads

    def blas():
        return {i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"}

    seen = []

    def job():
        yield Progress("start")
        seen.append((sys.getswitchinterval(), blas(), torch.get_num_threads()))
        time.sleep(0.05)

    before = sys.getswitchinterval(), blas(), torch.get_num_threads()
    wait_over(qtbot, submit(runner, job), submit(runner, counting(30)))
    for interval, threads, of_torch in seen:
        assert interval == pytest.approx(SWITCH_INTERVAL_S)
        assert max(threads) <= spare_threads()
        assert of_torch <= spare_threads()
    assert len(seen) == 1
    assert (sys.getswitchinterval(), blas(), torch.get_num_threads()) == before


def test_twenty_windows_open_and_close_on_running_jobs(qtbot, capfd):
    from qtpy.QtWidgets import QMainWindow

    threads = threading.active_count()
    interval, runners = sys.getswitchinterval(), []
    for _ in range(20):
        workspace, window = Workspace(), QMainWindow()
        runner = JobRunner.of(workspace)
        runner.follow(window)
        started, closed = [], []

        def job(started=started, closed=closed):
            try:
                started.append(1)
                yield from endless(0.001)
            finally:
                closed.append(1)

        handles = [submit(runner, job) for _ in range(3)]
        qtbot.waitUntil(lambda started=started: len(started) == 2)
        window.deleteLater()
        wait_over(qtbot, *handles, timeout=2000)
        assert {handle.state for handle in handles} == {JobState.CANCELLED}
        assert len(closed) == 2, "the third was waiting"
        runners.append(weakref.ref(runner))
        del runner, workspace, handles, window, job
    gc.collect()
    assert not any(gone() for gone in runners)
    assert threading.active_count() == threads
    assert sys.getswitchinterval() == interval
    assert "QThread" not in capfd.readouterr().err


def test_shutdown_does_not_wait_for_ever(qtbot, workspace):
    stuck, release = threading.Event(), threading.Event()

    def job():
        stuck.set()
        release.wait(5)
        yield Progress("late")

    runner = JobRunner(workspace)
    handle = submit(runner, job)
    assert stuck.wait(2)
    start = time.perf_counter()
    assert not runner.shutdown(timeout_s=0.2)
    assert time.perf_counter() - start < 0.5
    assert handle.state is JobState.CANCELLED
    release.set()
    qtbot.wait(100)
    assert handle.state is JobState.CANCELLED


def test_a_workspace_that_goes_takes_its_jobs_along(qtbot):
    workspace, closed = Workspace(), threading.Event()

    def job():
        try:
            yield from endless(0.001)
        finally:
            closed.set()

    handle = submit(JobRunner.of(workspace), job)
    qtbot.waitUntil(lambda: handle.progress is not None)
    del workspace
    gc.collect()
    assert closed.wait(1)


def test_the_window_may_close_while_a_result_is_written(qtbot, runner):
    handle = submit(runner, counting(total=1), on_result=lambda _: runner.shutdown())
    wait_over(qtbot, handle)
    assert handle.state is JobState.CANCELLED
    assert not runner.busy


def test_one_runner_for_each_workspace(qtbot, workspace):
    assert JobRunner.of(workspace) is JobRunner.of(workspace)
    assert JobRunner.of(workspace) is not JobRunner.of(Workspace())
