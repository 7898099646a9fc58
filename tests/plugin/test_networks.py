"""A network is read once, and again when its file has changed."""

from __future__ import annotations

import os

import pytest

from celldyn.betas import BetasConfig
from celldyn.errors import PriorError
from napari_celldyn.networks import NetworkShelf


def config(path, **more) -> BetasConfig:
    return BetasConfig(target_gene="A", cluster_annot="k", colinks_path=str(path), **more)


@pytest.fixture
def grn(tmp_path):
    (tmp_path / "grn.csv").write_text("source,target\nB,A\n")
    return tmp_path / "grn.csv"


def test_it_is_read_once(grn):
    shelf = NetworkShelf()
    assert shelf.grn(config(grn)) is shelf.grn(config(grn))


def test_it_is_read_again_when_the_file_or_the_threshold_changes(grn):
    shelf = NetworkShelf()
    first = shelf.grn(config(grn))
    second = shelf.grn(config(grn, alpha=0.5))
    assert second is not first
    grn.write_text("source,target\nC,A\n")
    os.utime(grn, ns=(1, 1))
    third = shelf.grn(config(grn, alpha=0.5))
    assert third is not second


def test_explicit_regulators_need_none(grn):
    assert NetworkShelf().grn(config(grn, regulators=["B"])) is None
    assert NetworkShelf().grn(BetasConfig(target_gene="A", cluster_annot="k")) is None


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(PriorError, match="is not there"):
        NetworkShelf().grn(config(tmp_path / "gone.csv"))
