"""Who takes part: the runtimes, the settings of each, and the worker that runs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """One runtime with one setting.

    Attributes:
        label: for people.
        worker: module under peer_runs.workers.
        option: told to the worker.
        distribution: what to ask for the version.
        tools: distributions that it needs beside that one.
        precision: what it computes in, "fp32", "bf16" or "int8"; its error is judged by it.
        environment: "main", or "deepsparse" with packages of its own.
        pruned: runs the pruned weights; else the same architecture without zeros.
        threads: instead of the configuration's.
    """

    label: str
    worker: str
    distribution: str
    option: str = ""
    tools: tuple[str, ...] = ()
    precision: str = "fp32"
    environment: str = "main"
    pruned: bool = True
    ours: bool = False
    threads: int | None = None

    @property
    def graph(self) -> bool:
        """Runs the exported ONNX graph, not the state_dict."""
        return self.worker not in ("run_ours", "run_torch", "run_torch_int8")


# In the order in which they are loaded and shown.
CONTESTANTS: dict[str, Contestant] = {
    "sparse_ovs": Contestant("sparse_ovs", "run_ours", "sparse_ovs", "fp32", ours=True),
    "sparse_ovs_2_threads": Contestant(
        "sparse_ovs, 2 threads", "run_ours", "sparse_ovs", "fp32", ours=True, threads=2
    ),
    "sparse_ovs_int8": Contestant(
        "sparse_ovs int8", "run_ours", "sparse_ovs", "int8", precision="int8", ours=True
    ),
    "sparse_ovs_int8_2_threads": Contestant(
        "sparse_ovs int8, 2 threads",
        "run_ours",
        "sparse_ovs",
        "int8",
        precision="int8",
        ours=True,
        threads=2,
    ),
    "eager": Contestant("torch eager", "run_torch", "torch", "eager"),
    "channels_last": Contestant("torch channels_last", "run_torch", "torch", "channels_last"),
    "compiled": Contestant("torch.compile", "run_torch", "torch", "compiled"),
    "frozen": Contestant("torch.compile, freezing", "run_torch", "torch", "frozen"),
    "onnxruntime": Contestant("ONNX Runtime", "run_onnxruntime", "onnxruntime", "fp32"),
    "openvino": Contestant("OpenVINO", "run_openvino", "openvino", "f32"),
    "openvino_bf16": Contestant(
        "OpenVINO, bf16 hint", "run_openvino", "openvino", "bf16", precision="bf16"
    ),
    "openvino_int8": Contestant(
        "OpenVINO int8", "run_openvino", "openvino", "int8", ("nncf",), precision="int8"
    ),
    "onnxruntime_int8": Contestant(
        "ONNX Runtime int8", "run_onnxruntime", "onnxruntime", "int8", ("onnx",), precision="int8"
    ),
    "torch_int8": Contestant(
        "torch int8, freezing", "run_torch_int8", "torch", "int8", ("torchao",), precision="int8"
    ),
    "deepsparse": Contestant(
        "DeepSparse, sparse", "run_deepsparse", "deepsparse", environment="deepsparse"
    ),
    "deepsparse_dense": Contestant(
        "DeepSparse, dense weights",
        "run_deepsparse",
        "deepsparse",
        environment="deepsparse",
        pruned=False,
    ),
}

DENSE_TORCH = ("eager", "channels_last", "compiled", "frozen")
# They run the zeros as dense: a "best dense peer" is the fastest of them.
DENSE = (*DENSE_TORCH, "onnxruntime", "openvino")
# Who the others are compared with, by the precision of a configuration.
OURS = {"fp32": "sparse_ovs", "int8": "sparse_ovs_int8"}
