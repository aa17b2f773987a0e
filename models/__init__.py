"""The network, its sizes, and checkpoints."""

from duostyle.models.checkpoint import (
    SMALL,
    Artwork,
    CheckpointError,
    build_on_meta_device,
    check_finite,
    describe,
    git_revision,
    load_checkpoint,
    load_pair,
    read_header,
    resolve,
    save_checkpoint,
    shipped_checkpoints,
)
from duostyle.models.config import MARGIN, SIZES, NetworkConfig
from duostyle.models.device import (
    PRECISIONS,
    keep_memory,
    pick_device,
    pick_precision,
    pick_training_precision,
)
from duostyle.models.layers import ConditionalNorm, StyledResidual
from duostyle.models.mask import pretrained_backbone
from duostyle.models.network import (
    SMALLEST_SIDE,
    Encoded,
    Inspection,
    StyleNetwork,
    check_alpha,
    check_content,
)
from duostyle.models.strength import apply_strength, check_strength, strength_map

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
    "StyleNetwork",
    "StyledResidual",
    "apply_strength",
    "build_on_meta_device",
    "check_alpha",
    "check_content",
    "check_finite",
    "check_strength",
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
    "strength_map",
]
