"""Images of a cell's surroundings by hand and as histograms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celldyn.betas.maps import DensityMapper, density_maps, distance_maps
from celldyn.errors import ConfigError, DataError


def test_distance_maps_by_hand():
    xy = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 2.0]])
    maps = distance_maps(xy, (2, 4))
    # Pixel centres: x 0.5, 1.5, 2.5, 3.5; y 1.5 (top row), 0.5.
    centre_x, centre_y = np.array([0.5, 1.5, 2.5, 3.5]), np.array([1.5, 0.5])
    for image, (x, y) in zip(maps, xy, strict=True):
        d = np.sqrt((x - centre_x[None]) ** 2 + (y - centre_y[:, None]) ** 2)
        np.testing.assert_allclose(image, (d - d.min()) / (d.max() - d.min()), atol=1e-6)
    assert maps[0, 1, 0] == 0.0  # the cell below left is darkest below left
    assert maps[0, 0, 3] == 1.0
    assert maps.dtype == np.float32
    batch = distance_maps(xy, (2, 4), cells=[2, 0])
    np.testing.assert_array_equal(batch, maps[[2, 0]])


def test_distance_maps_of_one_pixel_or_one_cell_are_zero():
    assert not distance_maps(np.array([[1.0, 2.0], [3.0, 4.0]]), (1, 1)).any()
    assert not distance_maps(np.array([[1.0, 2.0]]), (3, 3)).any()
    assert distance_maps(np.zeros((0, 2)), (3, 3)).shape == (0, 3, 3)


def test_density_maps_by_hand():
    xy = np.array([[10.0, 10.0], [11.5, 10.0], [10.0, 11.5], [8.0, 10.0], [12.0, 10.0]])
    maps = density_maps(xy, list("abaab"), [0], extent=4.0, spatial_dim=4)
    assert maps.shape == (1, 2, 4, 4)
    truth = np.zeros((2, 4, 4))
    truth[0, 2, 2] = 1  # the cell itself, at the corner of four pixels
    truth[1, 2, 3] = 1  # to the right
    truth[0, 0, 2] = 1  # above: row 0 is the top
    truth[0, 2, 0] = 1  # on the left edge belongs, on the right edge does not
    np.testing.assert_array_equal(maps[0], truth)
    assert maps.dtype == np.float32


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), side=st.integers(1, 9), sectioned=st.booleans())
def test_density_maps_are_histograms(seed, side, sectioned):
    rng = np.random.default_rng(seed)
    xy, types = rng.uniform(0, 50, (80, 2)), rng.choice(3, 80)
    sections = rng.choice(["p", "q"], 80)
    mapper = DensityMapper.build(
        xy, types, extent=17.0, spatial_dim=side, sections=sections if sectioned else None
    )
    cells = rng.choice(80, 7)
    edges = np.linspace(-8.5, 8.5, side + 1)
    for image, cell in zip(mapper.draw(cells), cells, strict=True):
        for channel, name in enumerate(mapper.names):
            seen = (types == name) & ((sections == sections[cell]) | (not sectioned))
            x, y = (xy[seen] - xy[cell]).T
            histogram = np.histogram2d(-y, x, bins=(edges, edges))[0]
            np.testing.assert_array_equal(image[channel], histogram)


def test_maps_refuse_what_does_not_fit():
    xy = np.random.default_rng(0).uniform(0, 300, (240, 2))
    types = np.repeat(["a", "b", "c"], 80)
    with pytest.raises(ConfigError, match="extent of 0"):
        density_maps(xy, types, [0], extent=0.0, spatial_dim=4)
    with pytest.raises(DataError, match=r"outside 0 \.\. 239"):
        density_maps(xy, types, [240], extent=9.0, spatial_dim=4)
    with pytest.raises(ConfigError, match="0 pixels"):
        distance_maps(xy, (0, 4))
    assert density_maps(xy, types, [], extent=9.0, spatial_dim=4).shape == (0, 3, 4, 4)
