"""Worker: torch in int8, exported, quantised for x86 by torchao and compiled with freezing."""

from __future__ import annotations

from typing import Any

from peer_runs.workers.protocol import Job, Loaded, main, resident_mb


def load(job: Job) -> Loaded:
    """PT2E with X86InductorQuantizer; quantising is in this process's peak of memory."""
    import numpy
    import torch
    import torch._inductor.config
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    from peer_runs.workers.torch_model import arrays, build

    imported = resident_mb()
    model, x = build(job)
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    with torch.no_grad(), torch._inductor.config.patch(freezing=True):
        prepared = prepare_pt2e(torch.export.export(model, (x,)).module(), quantizer)
        for batch in numpy.load(job.calibration):
            prepared(torch.from_numpy(batch))
        converted = convert_pt2e(prepared).to(memory_format=torch.channels_last)
        compiled = torch.compile(converted, dynamic=False, options={"freezing": True})
        x = x.to(memory_format=torch.channels_last)
        compiled(x)
        compiled(x)

    def run() -> Any:
        with torch.no_grad():
            return compiled(x)

    return Loaded(run, arrays, {"torch": torch.__version__}, imported)


if __name__ == "__main__":
    main(load)
