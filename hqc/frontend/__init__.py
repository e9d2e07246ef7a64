"""Ways into hqc: torch modules by export, ONNX files by load."""
