"""Networks and checkpoints."""

from .checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_header,
    save_checkpoint,
    shipped_checkpoints,
)
from .mask import pretrained_backbone
from .network import SIZES, Inspection, NetworkConfig, StyleNetwork

__all__ = [
    "SIZES",
    "CheckpointError",
    "Inspection",
    "NetworkConfig",
    "StyleNetwork",
    "load_checkpoint",
    "pretrained_backbone",
    "read_header",
    "save_checkpoint",
    "shipped_checkpoints",
]
