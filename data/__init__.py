"""Training data: photographs, segmentation labels, and random samples of them."""
