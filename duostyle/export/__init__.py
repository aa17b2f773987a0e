"""Export to ONNX: graphs, their variants for browsers and in half precision, and parity checks."""
