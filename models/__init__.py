"""Networks and checkpoints."""

from .checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_header,
    save_checkpoint,
    shipped_checkpoints,
)
from .config import SIZES, NetworkConfig
from .device import PRECISIONS, pick_device, pick_precision
from .mask import pretrained_backbone
from .network import Inspection, StyleNetwork

__all__ = [
    "PRECISIONS",
    "SIZES",
    "CheckpointError",
    "Inspection",
    "NetworkConfig",
    "StyleNetwork",
    "load_checkpoint",
    "pick_device",
    "pick_precision",
    "pretrained_backbone",
    "read_header",
    "save_checkpoint",
    "shipped_checkpoints",
]
