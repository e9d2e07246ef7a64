"""Templates of modules of Zephyr."""
