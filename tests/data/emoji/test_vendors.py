"""The vendors' table agrees with the packages."""

import pytest

from sparse_ovs.data.emoji.packages import PACKAGES, MissingPackages, read_json
from sparse_ovs.data.emoji.vendors import VENDORS


def test_what_must_be_shared_alike_does_not_ship() -> None:
    assert [v.name for v in VENDORS if not v.ships] == ["openmoji", "emojione-v1"]


def test_every_vendor_has_a_pinned_package() -> None:
    assert {v.package for v in VENDORS} < {p.name for p in PACKAGES}


@pytest.mark.slow
@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_authors_and_licences_are_those_that_the_package_states(vendor) -> None:  # type: ignore[no-untyped-def]
    package = next(p for p in PACKAGES if p.name == vendor.package)
    try:
        info = read_json(package, "info.json")
    except MissingPackages:
        pytest.skip("needs `sparse-ovs data fetch emoji`")
    assert (info["author"]["name"], info["license"]["spdx"]) == (vendor.author, vendor.licence)
