"""Model catalogue, onnxruntime sessions, and the detectors built from them."""
