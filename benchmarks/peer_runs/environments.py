"""The interpreters that contestants run in, and the variables that hold them to their threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from peer_runs.contestants import CONTESTANTS, Contestant

_BENCHMARKS = Path(__file__).parents[1]
_REQUIREMENTS = Path(__file__).with_name("deepsparse-requirements.txt")


class NoEnvironment(RuntimeError):
    """An environment that cannot be built here."""


@dataclass
class Environments:
    """Interpreters by environment name, and the reason for each that is missing."""

    pythons: dict[str, str]
    failures: dict[str, str] = field(default_factory=dict)

    def version(self, contestant: Contestant) -> str:
        """Of the contestant's package; "missing: reason" where it is not there."""
        name = contestant.environment
        if name in self.failures:
            return f"missing: {self.failures[name]}"
        if self.pythons[name] == sys.executable:
            try:
                own = version(contestant.distribution)
                return own + "".join(f", {name} {version(name)}" for name in contestant.tools)
            except PackageNotFoundError as error:
                return f"missing: {error.name} is not installed"
        found = _run(
            [
                self.pythons[name],
                "-c",
                f"from importlib.metadata import version; print(version("
                f"{contestant.distribution!r}))",
            ]
        )
        return found.stdout.strip() if found.returncode == 0 else "missing: not installed"


def build(
    folder: Path, names: set[str], on_step: Callable[[str], None] = lambda text: None
) -> Environments:
    """The environments of these contestants; one that cannot be built is reported, not raised.

    Args:
        folder: where environments lie.
        names: contestants.
        on_step: called with a line of text when something slow begins.
    """
    environments = Environments({"main": sys.executable})
    if any(CONTESTANTS[name].environment == "deepsparse" for name in names):
        try:
            place = folder / "peers-deepsparse"
            environments.pythons["deepsparse"] = _deepsparse(place, on_step)
        except NoEnvironment as error:
            environments.failures["deepsparse"] = str(error)
    return environments


def _deepsparse(place: Path, on_step: Callable[[str], None]) -> str:
    python = place / "bin" / "python"
    made = place / ".requirements"
    wanted = _REQUIREMENTS.read_text()
    if made.is_file() and made.read_text() == wanted:
        return str(python)
    on_step("make DeepSparse's environment")
    base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if base is None:
        raise NoEnvironment("needs a Python 3.11, found none")
    shutil.rmtree(place, ignore_errors=True)
    for command in (
        [base, "-m", "venv", str(place)],
        [str(python), "-m", "pip", "install", "-q", "-r", str(_REQUIREMENTS)],
    ):
        done = _run(command)
        if done.returncode != 0:
            raise NoEnvironment(_reason(done.stderr))
    made.write_text(wanted)
    return str(python)


def _reason(text: str) -> str:
    """The line of pip's that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["failed without a word"])[-1]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=_clean(), check=False)


def _clean() -> dict[str, str]:
    """Without what would leak this interpreter's packages into another."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def worker_command(python: str, contestant: Contestant, cores: list[int]) -> list[str]:
    """argv of a contestant's worker on these cores."""
    return [
        python,
        "-m",
        f"peer_runs.workers.{contestant.worker}",
        ",".join(map(str, cores)),
    ]


def worker_variables(threads: int, inductor_cache: Path) -> dict[str, str]:
    """The environment of a worker."""
    count = str(threads)
    own = {k: v for k, v in _clean().items() if not k.startswith(("OMP_", "KMP_", "GOMP_"))}
    own.pop("SPARSE_OVS_NUM_THREADS", None)
    pools = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    return (
        own
        | {f"{pool}_NUM_THREADS": count for pool in pools}
        | {
            "PYTHONPATH": str(_BENCHMARKS),
            "CUDA_VISIBLE_DEVICES": "",
            "NM_DISABLE_ANALYTICS": "1",  # DeepSparse calls out otherwise
            "TORCHINDUCTOR_CACHE_DIR": str(inductor_cache),
        }
    )


def cores_for(threads: int) -> list[int]:
    """The first cores that this process may use, one a thread.

    Raises:
        ValueError: fewer cores than threads.
    """
    if not hasattr(os, "sched_getaffinity"):
        return list(range(threads))
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < threads:
        raise ValueError(f"expected at least {threads} cores, got {len(allowed)}")
    return allowed[:threads]
