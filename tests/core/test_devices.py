"""Where work runs."""

from __future__ import annotations

import pytest

from celldyn.devices import choose_device, spare_threads
from celldyn.errors import ConfigError


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
