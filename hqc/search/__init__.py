"""Searching each layer's quantizer: one method per file, which registers itself."""
