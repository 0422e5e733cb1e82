"""Triton kernels, one file an operation; installed as `sparse_ovs.kernels`."""
