"""The npm packages that the emoji come from, fetched once and checked by their hashes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_ovs.cache import cache_folder


@dataclass(frozen=True)
class Package:
    """One version of an npm package.

    Attributes:
        integrity: of the tarball, as npm writes it: "sha512-" and the digest in base64.
    """

    name: str
    version: str
    integrity: str

    @property
    def tarball(self) -> str:
        """Name of the file that `npm pack` writes."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


PACKAGES = (
    Package(
        "@iconify-json/noto",
        "1.2.9",
        "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ),
    Package(
        "@iconify-json/noto-v1",
        "1.2.5",
        "sha512-/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
    ),
    Package(
        "@iconify-json/twemoji",
        "1.2.5",
        "sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
    ),
    Package(
        "@iconify-json/openmoji",
        "1.2.29",
        "sha512-vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ==",
    ),
    Package(
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "sha512-D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
    ),
    Package(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    ),
    Package(
        "@iconify-json/fxemoji",
        "1.2.2",
        "sha512-UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==",
    ),
    Package(
        "@iconify-json/emojione",
        "1.2.3",
        "sha512-T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==",
    ),
    Package(
        "@iconify-json/emojione-v1",
        "1.2.3",
        "sha512-UjI2VQEXVtGlPBvQuxEizro7QCgBcJDOYwKUupquvvZ8UV4xOlvm45IU82JYWegiAWLerY79gFLMZ26U6Ms+ww==",
    ),
    Package(
        "emojibase-data",
        "17.0.0",
        "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
    ),
    Package(
        "unicode-emoji-json",
        "0.9.0",
        "sha512-HdrQW/7SdbXUsTd8uTATv7LvQJkCSgbAgRCDCtOhQ6xn3EAx+xZHQtRniOXWJK3ywIqPegkNhP4U4EbuFsiQng==",
    ),
)
"""Pictures of nine vendors, and names and keywords in two lists."""

Say = Callable[[str], None]


def package(name: str) -> Package:
    """The pinned package of a name, with or without its scope.

    Raises:
        KeyError: none.
    """
    for known in PACKAGES:
        if name in (known.name, known.name.rpartition("/")[2]):
            return known
    raise KeyError(f"expected one of {', '.join(map(str, PACKAGES))}, got {name!r}")


class MissingPackages(ValueError):
    """Packages that are neither in the cache nor to be had."""


def packages_folder() -> Path:
    """Where the tarballs are kept. It need not exist yet."""
    return cache_folder() / "emoji" / "packages"


def fetch(
    source: Path | None = None,
    *,
    packages: Sequence[Package] = PACKAGES,
    say: Say = lambda line: None,
) -> Path:
    """Brings all packages into the cache; those that are there and whole stay as they are.

    Each tarball appears in the cache when it is complete and its hash is right, so a run that was
    stopped goes on where it was.

    Args:
        source: a folder of tarballs, named as `npm pack` names them; by default npm is asked.

    Returns:
        The folder of the tarballs.

    Raises:
        MissingPackages: says which cannot be had, why, and how to get them.
        ValueError: a tarball is not the one that was pinned.
    """
    folder = packages_folder()
    folder.mkdir(parents=True, exist_ok=True)
    missing: dict[Package, str] = {}
    for package in packages:
        kept = folder / package.tarball
        if kept.is_file() and integrity_of(kept.read_bytes()) == package.integrity:
            continue
        say(f"fetch {package}")
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
            try:
                found = (
                    _copied(package, source, Path(partial))
                    if source
                    else _packed(package, Path(partial))
                )
            except OSError as error:
                missing[package] = str(error)
                continue
            _check(package, found)
            os.replace(found, kept)
    if missing:
        raise MissingPackages(_how_to_get(missing))
    return folder


def require_packages(packages: Sequence[Package] = PACKAGES) -> Path:
    """The folder of the tarballs.

    Raises:
        MissingPackages: some are not in the cache.
    """
    folder = packages_folder()
    missing = {p: "not in the cache" for p in packages if not (folder / p.tarball).is_file()}
    if missing:
        raise MissingPackages(_how_to_get(missing))
    return folder


def read_json(package: Package, file: str) -> Any:
    """A JSON file of a fetched package; the tarball's hash is checked again.

    Raises:
        MissingPackages: the package is not in the cache.
        ValueError: the tarball is damaged.
        KeyError: no such file in it.
    """
    tarball = require_packages([package]) / package.tarball
    _check(package, tarball)
    with tarfile.open(fileobj=io.BytesIO(tarball.read_bytes()), mode="r:gz") as archive:
        member = archive.extractfile(f"package/{file}")
        if member is None:
            raise KeyError(f"expected a file {file} in {package}, got none")
        return json.load(member)


def integrity_of(content: bytes) -> str:
    """A hash in npm's spelling."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _check(package: Package, tarball: Path) -> None:
    got = integrity_of(tarball.read_bytes())
    if got != package.integrity:
        raise ValueError(
            f"expected {package} with hash {package.integrity}, got {got}: {tarball.name} is "
            "damaged or another version"
        )


def _copied(package: Package, source: Path, into: Path) -> Path:
    given = source / package.tarball
    if not given.is_file():
        raise FileNotFoundError(f"no {package.tarball} in {source}")
    return Path(shutil.copyfile(given, into / package.tarball))


def _packed(package: Package, into: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    run = subprocess.run(
        [npm, "pack", "--silent", str(package)], cwd=into, capture_output=True, text=True
    )
    packed = into / package.tarball
    if run.returncode or not packed.is_file():
        lines = run.stderr.strip().splitlines()
        raise FileNotFoundError(f"npm pack failed: {lines[-1] if lines else 'no message'}")
    return packed


def _how_to_get(missing: dict[Package, str]) -> str:
    listed = "\n".join(f"  {package}: {why}" for package, why in missing.items())
    return (
        f"expected the emoji packages, got none of these:\n{listed}\n"
        "Where npm is installed, run `sparse-ovs data fetch emoji`. Else run "
        f"`npm pack {' '.join(map(str, missing))}` on another machine, bring the .tgz files here, "
        "and run `sparse-ovs data fetch emoji --from FOLDER`."
    )
