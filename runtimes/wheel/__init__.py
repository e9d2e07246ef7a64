"""Templates of wheels."""
