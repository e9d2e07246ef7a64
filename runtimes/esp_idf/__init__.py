"""Templates of components of ESP-IDF."""
