"""The vendors' table agrees with the packages."""

import pytest

from sparse_ovs.data.emoji.packages import PACKAGES, MissingPackages, fetch, read_json
from sparse_ovs.data.emoji.vendors import VENDORS, Vendor


def test_what_must_be_shared_alike_does_not_ship() -> None:
    assert [v.name for v in VENDORS if not v.ships] == ["openmoji", "emojione-v1"]


def test_every_vendor_has_a_pinned_package() -> None:
    assert {v.package for v in VENDORS} < {p.name for p in PACKAGES}


@pytest.mark.slow
@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_authors_and_licences_are_those_that_the_package_states(vendor: Vendor) -> None:
    package = next(p for p in PACKAGES if p.name == vendor.package)
    try:
        fetch(packages=[package])
    except MissingPackages as error:
        pytest.skip(str(error))
    info = read_json(package, "info.json")
    assert (info["author"]["name"], info["license"]["spdx"]) == (vendor.author, vendor.licence)
