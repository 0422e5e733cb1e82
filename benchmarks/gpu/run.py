"""Works through the list of steps on this machine's GPU: `benchmarks/gpu/run.sh` starts it."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks" / "gpu"), str(ROOT / "tests")]

from gpu_runs import warm_up  # noqa: E402
from gpu_runs.environment import child_environment, compute_capability, describe  # noqa: E402
from gpu_runs.plan import STEPS, estimates  # noqa: E402
from gpu_runs.runner import Runner  # noqa: E402
from gpu_runs.site_folder import make_site  # noqa: E402

_REHEARSED = 2  # items of a step


def main() -> int:
    """See --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="for the whole list")
    parser.add_argument("--only", default="", help="steps, by name, with commas between them")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu", help="folder")
    parser.add_argument(
        "--wheels", type=Path, default=ROOT / "build" / "gpu-wheels", help="folder of wheels"
    )
    parser.add_argument(
        "--rehearse", action="store_true", help="without a GPU: each step up to its first launch"
    )
    parser.add_argument("--list", action="store_true", help="print the list, and run nothing")
    asked = parser.parse_args()
    wanted = [name for name in asked.only.split(",") if name]
    unknown = set(wanted) - {step.name for step in STEPS}
    if unknown or asked.minutes <= 0:
        parser.error(f"expected --minutes above 0 and known steps, got {asked.minutes}, {wanted}")
    steps = [step for step in STEPS if not wanted or step.name in wanted]
    print("\n".join(estimates()))
    print("Estimates, not measured: they come from bounds and assumptions.", flush=True)
    if asked.list:
        return 0
    if asked.rehearse:
        steps = [replace(s, items=dict(list(s.items.items())[:_REHEARSED])) for s in steps]
    if wanted:
        steps = [replace(s, share=s.share / sum(s.share for s in steps)) for s in steps]
    out, signals = asked.out.resolve(), (signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        signal.signal(number, lambda *_: sys.exit(1))
    site = out / "site"
    machine = describe()
    notes = make_site(ROOT, site, asked.wheels)
    for line in [*(f"{name}: {text}" for name, text in machine.items()), *notes]:
        print(line, flush=True)
    environment = child_environment(ROOT, out, site, asked.rehearse)
    runner = Runner(
        out,
        asked.minutes,
        environment,
        say=lambda text: print(f"{datetime.now():%H:%M:%S} {text}", flush=True),
        tunings=out / "cache" / "gpu_tunings.json",
    )
    about = {
        "began": datetime.now().astimezone().isoformat(timespec="seconds"),
        "rehearsal": asked.rehearse,
        "machine": machine,
        "site": notes,
    }
    arch = None if asked.rehearse else compute_capability()
    compilers = [] if arch is None else warm_up.start(arch, environment, out)
    try:
        runner.run(steps, about)
    finally:
        for process in compilers:
            process.kill()
    print(f"wrote {runner.file}; python benchmarks/gpu/report.py {runner.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
