"""The network as an ONNX graph, and what runs such graphs: ONNX Runtime, OpenVINO."""

from .engine import BACKENDS, GraphEngine, fastest_backend, fingerprint
from .graph import export_graph

__all__ = ["BACKENDS", "GraphEngine", "export_graph", "fastest_backend", "fingerprint"]
