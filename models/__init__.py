"""The network, its sizes, and checkpoints."""

from duostyle.models.backbone import pretrained_backbone
from duostyle.models.checkpoint import (
    CheckpointError,
    build_on_meta_device,
    check_finite,
    git_revision,
    load_checkpoint,
    load_pair,
    read_header,
    resolve,
    save_checkpoint,
)
from duostyle.models.config import MARGIN, SIZES, NetworkConfig
from duostyle.models.device import (
    PRECISIONS,
    keep_memory,
    pick_device,
    pick_precision,
    pick_training_precision,
)
from duostyle.models.interface import SMALLEST_SIDE, Inspection, Painter, check_alpha, check_content
from duostyle.models.layers import ConditionalNorm
from duostyle.models.network import Encoded, StyleNetwork
from duostyle.models.shipped import SMALL, Artwork, describe, shipped_checkpoints

__all__ = [
    "MARGIN",
    "PRECISIONS",
    "SIZES",
    "SMALL",
    "SMALLEST_SIDE",
    "Artwork",
    "CheckpointError",
    "ConditionalNorm",
    "Encoded",
    "Inspection",
    "NetworkConfig",
    "Painter",
    "StyleNetwork",
    "build_on_meta_device",
    "check_alpha",
    "check_content",
    "check_finite",
    "describe",
    "git_revision",
    "keep_memory",
    "load_checkpoint",
    "load_pair",
    "pick_device",
    "pick_precision",
    "pick_training_precision",
    "pretrained_backbone",
    "read_header",
    "resolve",
    "save_checkpoint",
    "shipped_checkpoints",
]
