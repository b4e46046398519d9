"""Writing ONNX and proving that it computes what PyTorch computes."""
