"""What a training run is made of besides network, objective and data."""

from duostyle.training.monitor import Monitor
from duostyle.training.settings import TrainConfig
from duostyle.training.trainer import Diverged, Learner

__all__ = ["Diverged", "Learner", "Monitor", "TrainConfig"]
