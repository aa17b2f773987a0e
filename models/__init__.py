"""Networks and checkpoints."""

from .checkpoint import (
    CheckpointError,
    git_revision,
    load_checkpoint,
    read_header,
    save_checkpoint,
    shipped_checkpoints,
)
from .config import MARGIN, SIZES, NetworkConfig
from .device import PRECISIONS, pick_device, pick_precision, pick_training_precision
from .mask import pretrained_backbone
from .network import Inspection, StyleNetwork
from .steady import Steadier

__all__ = [
    "MARGIN",
    "PRECISIONS",
    "SIZES",
    "CheckpointError",
    "Inspection",
    "NetworkConfig",
    "Steadier",
    "StyleNetwork",
    "git_revision",
    "load_checkpoint",
    "pick_device",
    "pick_precision",
    "pick_training_precision",
    "pretrained_backbone",
    "read_header",
    "save_checkpoint",
    "shipped_checkpoints",
]
