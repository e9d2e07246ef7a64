"""What runs compiled models: C sources that artifacts are made of, and the host loader."""
