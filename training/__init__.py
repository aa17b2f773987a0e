"""What a training run is made of besides network, objective and data."""

from .learner import Diverged, Learner
from .monitor import Monitor
from .settings import TrainConfig

__all__ = ["Diverged", "Learner", "Monitor", "TrainConfig"]
