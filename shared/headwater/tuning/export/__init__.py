"""Trained models → ONNX → bundles."""
