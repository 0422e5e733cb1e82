"""The `sparse-ovs` command."""

from sparse_ovs.cli.app import main

__all__ = ["main"]
