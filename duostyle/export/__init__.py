"""Networks as ONNX graphs: export, browser and half-precision variants, comparison with PyTorch."""
