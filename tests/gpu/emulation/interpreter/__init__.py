"""Triton's interpreter, mended and watched: the algorithm of a kernel, without a compiler."""
