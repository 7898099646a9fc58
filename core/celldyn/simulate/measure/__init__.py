"""How a tissue is measured: technical noise, platforms, segmentation."""
