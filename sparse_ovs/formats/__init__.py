"""How non-zeros are stored: the packed CPU format, formats for GPUs, and files."""

from sparse_ovs._after_import import import_what_waits
from sparse_ovs.formats.bsr import BsrTranspose, BsrWeight, pack_bsr
from sparse_ovs.formats.channel_order import find_channel_order
from sparse_ovs.formats.csr import CsrWeight, to_csr
from sparse_ovs.formats.files import (
    FileFormatError,
    ForeignFileError,
    format_version,
    read_file,
    replace_file,
    write_file,
)
from sparse_ovs.formats.fit import MaskFit, fit_mask
from sparse_ovs.formats.mask_files import MaskContent, as_mask, read_masks, write_masks
from sparse_ovs.formats.packed import PackedWeight, pack
from sparse_ovs.formats.torch_files import WRAPPERS, bare_key, bare_keys, load_torch_file
from sparse_ovs.formats.two_four import TwoFourFit, TwoFourWeight, to_two_four, two_four_fit

__all__ = [
    "WRAPPERS",
    "BsrTranspose",
    "BsrWeight",
    "CsrWeight",
    "FileFormatError",
    "ForeignFileError",
    "MaskContent",
    "MaskFit",
    "PackedWeight",
    "TwoFourFit",
    "TwoFourWeight",
    "as_mask",
    "bare_key",
    "bare_keys",
    "find_channel_order",
    "fit_mask",
    "format_version",
    "load_torch_file",
    "pack",
    "pack_bsr",
    "read_file",
    "read_masks",
    "replace_file",
    "to_csr",
    "to_two_four",
    "two_four_fit",
    "write_file",
    "write_masks",
]

import_what_waits(__name__)
