"""How non-zeros are stored: the packed CPU format, and the files that hold it."""

from sparse_ovs.formats.files import (
    FORMAT_VERSION,
    FileFormatError,
    ForeignFileError,
    read_file,
    replace_file,
    write_file,
)
from sparse_ovs.formats.mask_files import as_mask, read_masks, write_masks
from sparse_ovs.formats.packed import PackedWeight, pack

__all__ = [
    "FORMAT_VERSION",
    "FileFormatError",
    "ForeignFileError",
    "PackedWeight",
    "as_mask",
    "pack",
    "read_file",
    "read_masks",
    "replace_file",
    "write_file",
    "write_masks",
]
