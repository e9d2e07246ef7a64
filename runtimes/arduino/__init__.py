"""Templates of libraries of Arduino's."""
