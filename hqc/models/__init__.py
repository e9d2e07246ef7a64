"""Spiking vision transformers, built from one vocabulary of layers."""
