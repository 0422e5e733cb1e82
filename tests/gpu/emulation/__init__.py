"""Evidence for GPU kernels on machines without a GPU: see tests/gpu/README.md.

interpreter/      L0  Triton kernels interpreted, checked and counted
kernel.py, ptx/,
runtime/          L1  PTX emulated on CPU tensors, with race and bounds checks
triton_driver.py      the same under `kernel[grid](...)`
nvrtc.py              CUDA C++ to PTX and machine code
aot.py, sass.py   L2  what the compilers made: registers, spills, instructions
kernel.Counters   L3  exact counts of a launch
bound.py          L4  lower bounds on time
budgets.py            figures that must not get worse
"""
