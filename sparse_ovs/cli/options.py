"""Arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

from typing import Annotated

import typer

ModelName = Annotated[
    str, typer.Argument(help="open_clip model: RN50, ViT-B-16, convnext_base, ...")
]
Pretrained = Annotated[
    str | None, typer.Option(help="tag (openai) or path; default: random weights")
]
PatternName = Annotated[
    str, typer.Option(help="unstructured, block4x1 (any blockRxC), 2:4 (any n:m), channel")
]
HeadSizes = Annotated[
    str | None, typer.Option(help="of a head that no checkpoint brings: paper (default), small")
]
CostSize = Annotated[
    str, typer.Option(help="pixels that MACs and times are for, S or HxW", metavar="S|HxW")
]
CostThreads = Annotated[
    int | None, typer.Option(help="that times are for; default: torch's own choice")
]


def parse_size(text: str) -> tuple[int, int]:
    """`640` -> (640, 640), `800x1216` -> (800, 1216): height, width.

    Raises:
        ValueError: anything else.
    """
    parts = text.lower().split("x")
    if len(parts) in (1, 2) and all(part.isdecimal() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    raise ValueError(f"expected a size such as 640 or 800x1216 (height x width), got {text!r}")
