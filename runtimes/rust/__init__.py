"""Templates of crates."""
