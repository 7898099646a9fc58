"""napari-celldyn: the napari plugin over celldyn. Everything that touches Qt or napari."""
