"""Constants that several parts of the package share."""

# Mean and standard deviation of ImageNet's pictures, RGB in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# ITU-R BT.601: luma of R'G'B'.
BT601_LUMA = (0.299, 0.587, 0.114)
