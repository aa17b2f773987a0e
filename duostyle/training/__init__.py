"""Training: settings, initialization, data, optimizers, the training step, and its reports."""

from duostyle.training.monitor import Monitor
from duostyle.training.settings import TrainConfig
from duostyle.training.trainer import Diverged, Trainer

__all__ = ["Diverged", "Monitor", "TrainConfig", "Trainer"]
