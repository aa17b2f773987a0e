"""Networks and checkpoints."""

from .checkpoint import (
    CheckpointError,
    git_revision,
    load_checkpoint,
    read_header,
    resolve,
    save_checkpoint,
    shipped_checkpoints,
)
from .config import MARGIN, SIZES, NetworkConfig
from .contract import Inspection, Painter, check_inputs
from .device import (
    PRECISIONS,
    keep_memory,
    pick_device,
    pick_precision,
    pick_training_precision,
)
from .mask import pretrained_backbone
from .network import StyleNetwork
from .steady import Steadier

__all__ = [
    "MARGIN",
    "PRECISIONS",
    "SIZES",
    "CheckpointError",
    "Inspection",
    "NetworkConfig",
    "Painter",
    "Steadier",
    "StyleNetwork",
    "check_inputs",
    "git_revision",
    "keep_memory",
    "load_checkpoint",
    "pick_device",
    "pick_precision",
    "pick_training_precision",
    "pretrained_backbone",
    "read_header",
    "resolve",
    "save_checkpoint",
    "shipped_checkpoints",
]
