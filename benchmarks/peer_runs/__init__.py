"""sparse_ovs against the runtimes people use: the parts behind benchmarks/peers.py."""
