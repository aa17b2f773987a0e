"""Networks and checkpoints."""

from .checkpoint import (
    CheckpointError,
    check_finite,
    git_revision,
    load_checkpoint,
    load_pair,
    outline,
    read_header,
    resolve,
    save_checkpoint,
)
from .config import MARGIN, SIZES, NetworkConfig
from .contract import SMALLEST_SIDE, Inspection, Painter, check_inputs
from .device import (
    PRECISIONS,
    keep_memory,
    pick_device,
    pick_precision,
    pick_training_precision,
)
from .layers import ConditionalNorm
from .mask import pretrained_backbone
from .network import StyleNetwork
from .shipped import SMALL, Painting, describe, shipped_checkpoints
from .steady import Steadier

__all__ = [
    "MARGIN",
    "PRECISIONS",
    "SIZES",
    "SMALL",
    "SMALLEST_SIDE",
    "CheckpointError",
    "ConditionalNorm",
    "Inspection",
    "NetworkConfig",
    "Painter",
    "Painting",
    "Steadier",
    "StyleNetwork",
    "check_finite",
    "check_inputs",
    "describe",
    "git_revision",
    "keep_memory",
    "load_checkpoint",
    "load_pair",
    "outline",
    "pick_device",
    "pick_precision",
    "pick_training_precision",
    "pretrained_backbone",
    "read_header",
    "resolve",
    "save_checkpoint",
    "shipped_checkpoints",
]
