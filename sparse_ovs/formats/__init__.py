"""How non-zeros are stored: the packed CPU format, and the files that hold it."""

from sparse_ovs.formats.files import (
    FORMAT_VERSION,
    FileFormatError,
    ForeignFileError,
    read_file,
    replace_file,
    write_file,
)
from sparse_ovs.formats.packed import PackedWeight, pack

__all__ = [
    "FORMAT_VERSION",
    "FileFormatError",
    "ForeignFileError",
    "PackedWeight",
    "pack",
    "read_file",
    "replace_file",
    "write_file",
]
