"""Readers of the recordings and images that models are trained, verified and run on."""
