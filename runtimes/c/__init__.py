"""C headers, sources and templates, read as package data."""
