"""Streams: threads that each run a call again and again, as a service under load does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier, BrokenBarrierError
from time import perf_counter
from types import TracebackType

_PATIENCE = 600.0  # seconds that a stream waits for the others to begin


@dataclass(frozen=True)
class Load:
    """What streams did together.

    Attributes:
        latencies_ms: of every call of every stream.
        seconds: from their common beginning until the last one ended.
    """

    latencies_ms: list[float]
    seconds: float

    @property
    def calls_per_second(self) -> float:
        """Of all streams together."""
        return len(self.latencies_ms) / self.seconds


class Streams:
    """One thread for each call, kept between loads, since libraries keep pools by thread.

    Args:
        runs: one call for each stream; they may be the same one where it allows that.
    """

    def __init__(self, runs: Sequence[Callable[[], object]]) -> None:
        self._runs = runs
        self._pool = ThreadPoolExecutor(len(runs))

    def load(self, seconds: float) -> Load:
        """Runs all streams for so long; each ends the call that it is in. All of them first run
        once untimed.

        Raises:
            Exception: what a call raised.
        """
        barrier = Barrier(len(self._runs))

        def stream(run: Callable[[], object]) -> tuple[float, float, list[float]]:
            try:
                run()
                barrier.wait(_PATIENCE)
            except BaseException:
                barrier.abort()  # or the others would wait for this one
                raise
            latencies: list[float] = []
            begun = now = perf_counter()
            while now - begun < seconds or not latencies:
                before = now
                run()
                now = perf_counter()
                latencies.append(1e3 * (now - before))
            return begun, now, latencies

        futures = [self._pool.submit(stream, run) for run in self._runs]
        # The first cause, not that others waited for it in vain.
        failures = [each.exception() for each in futures]
        for failure in sorted(filter(None, failures), key=_waited_in_vain):
            raise failure
        told = [each.result() for each in futures]
        spent = max(end for _, end, _ in told) - min(begin for begin, _, _ in told)
        return Load([ms for _, _, latencies in told for ms in latencies], spent)

    def __enter__(self) -> Streams:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()


def _waited_in_vain(failure: BaseException) -> bool:
    return isinstance(failure, BrokenBarrierError)
