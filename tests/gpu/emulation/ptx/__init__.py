"""PTX text to C++: what a kernel means, one warp instruction at a time."""
