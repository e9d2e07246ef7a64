"""The peers that TVM compiles: the network in floats, its loops, and programs of them."""
