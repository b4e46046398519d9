"""Running a graph on raw input: ONNX Runtime and readers, never torch."""
