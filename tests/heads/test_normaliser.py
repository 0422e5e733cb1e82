"""What losses are divided by, alone and in several processes."""

from __future__ import annotations

import torch
from torch import multiprocessing

from sparse_ovs.heads import shared_count


def _share(rank: int, folder: str) -> None:
    torch.set_num_threads(1)  # torch's own parallel loops hang in a forked child
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=2
    )
    count = shared_count(torch.tensor([3, 4][rank]))
    torch.save(count, f"{folder}/{rank}")
    torch.distributed.destroy_process_group()


def test_alone_a_count_is_itself_but_at_least_one() -> None:
    assert shared_count(torch.tensor(7)) == 7
    assert shared_count(torch.tensor(0)) == 1


def test_processes_share_the_mean_of_their_counts(tmp_path) -> None:
    multiprocessing.start_processes(_share, (str(tmp_path),), nprocs=2, start_method="fork")
    assert [torch.load(tmp_path / str(rank)).item() for rank in range(2)] == [3.5, 3.5]
