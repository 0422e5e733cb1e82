"""Fetching the emoji packages: from a folder, checked by hash, resumed, errors that help."""

from pathlib import Path

import pytest

from sparse_ovs.data.emoji import packages as subject
from sparse_ovs.data.emoji.packages import MissingPackages, Package, fetch, integrity_of, read_json
from support.made_emoji import tarball


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Package]]:
    """A folder of two tarballs, and their pins."""
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "source"
    source.mkdir()
    packages = []
    for name in ("@hands/left", "names"):
        content = tarball({"icons.json": {"from": name}})
        packages.append(Package(name, "1.0.0", integrity_of(content)))
        (source / packages[-1].tarball).write_bytes(content)
    return source, packages


def test_a_folder_of_tarballs_is_fetched_and_read(made: tuple[Path, list[Package]]) -> None:
    source, packages = made
    fetch(source, packages=packages)
    assert [read_json(p, "icons.json")["from"] for p in packages] == ["@hands/left", "names"]


def test_tarballs_are_named_as_npm_pack_names_them() -> None:
    assert Package("@hands/left", "1.0.0", "").tarball == "hands-left-1.0.0.tgz"


def test_a_missing_tarball_is_named_with_the_way_to_get_it(
    made: tuple[Path, list[Package]],
) -> None:
    source, packages = made
    (source / "names-1.0.0.tgz").unlink()
    with pytest.raises(MissingPackages, match=r"names@1\.0\.0: no (.|\n)*npm pack names@1\.0\.0"):
        fetch(source, packages=packages)


def test_without_npm_the_error_says_so(
    made: tuple[Path, list[Package]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPackages, match="npm is not installed"):
        fetch(packages=made[1])


def test_a_damaged_tarball_is_refused_and_not_kept(made: tuple[Path, list[Package]]) -> None:
    source, packages = made
    file = source / packages[0].tarball
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged or another version"):
        fetch(source, packages=packages)
    assert not list(subject.packages_folder().iterdir())


def test_a_tarball_damaged_in_the_cache_is_fetched_again(made: tuple[Path, list[Package]]) -> None:
    source, packages = made
    kept = fetch(source, packages=packages) / packages[0].tarball
    kept.write_bytes(b"half")
    with pytest.raises(ValueError, match="damaged"):
        read_json(packages[0], "icons.json")
    fetch(source, packages=packages)
    assert read_json(packages[0], "icons.json")


def test_a_stopped_fetch_goes_on_where_it_was(
    made: tuple[Path, list[Package]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, packages = made
    replace = subject.os.replace
    said: list[str] = []

    def killed(found: Path, kept: Path) -> None:
        if "names" in str(kept):
            raise KeyboardInterrupt
        replace(found, kept)

    with monkeypatch.context() as patch:
        patch.setattr(subject.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(source, packages=packages)
    fetch(source, packages=packages, say=said.append)
    assert said == ["fetch names@1.0.0"]
