"""Where work runs."""

from __future__ import annotations

import pytest

from celldyn.devices import choose_device, in_one_thread, spare_threads
from celldyn.errors import ConfigError
from celldyn.jobs import Progress


def test_auto_is_a_device_that_is_there():
    import torch

    assert torch.zeros(2, device=choose_device()).sum() == 0


def test_the_cpu_can_be_asked_for():
    assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize(
    ("name", "says"), [("tpu", "is not known"), ("cuda", "is not on this machine")]
)
def test_a_device_that_is_not_there_is_one_sentence(name, says):
    import torch

    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ConfigError, match=says):
        choose_device(name)


def test_a_window_keeps_a_core():
    assert spare_threads() >= 1


def test_a_job_in_one_thread_leaves_the_others_as_they_were():
    from threadpoolctl import threadpool_info

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    def job():
        yield Progress("inside", metrics={"threads": max(threads())})
        return "done"

    before, running = threads(), in_one_thread(job())
    step = next(running)
    assert step.metrics["threads"] == 1
    assert threads() == before
    with pytest.raises(StopIteration, match="done"):
        next(running)
    assert threads() == before


def test_closing_a_job_in_one_thread_closes_what_is_inside():
    closed = []

    def job():
        try:
            yield Progress("inside")
        finally:
            closed.append(True)

    running = in_one_thread(job())
    next(running)
    running.close()
    assert closed == [True]
