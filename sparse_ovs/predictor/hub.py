"""Files of predictors, found by path, folder or repository of huggingface.co, and uploaded."""

from __future__ import annotations

import os
import re
from pathlib import Path

import huggingface_hub

from sparse_ovs.backbones import PretrainedUnavailable
from sparse_ovs.backbones.weights import check_connection

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def find_local(source: str | os.PathLike[str], file_name: str) -> Path | None:
    """The file of a path or of a folder; None where it is neither."""
    path = Path(source)
    if path.is_dir():
        path = path / file_name
    return path if path.is_file() else None


def find_on_hub(
    source: str | os.PathLike[str], kind: str, file_name: str, revision: str | None
) -> Path:
    """The file of a repository ("user/name"), downloaded where it is not in the hub's cache.

    Args:
        kind: what the file holds, such as "segmenter".

    Raises:
        FileNotFoundError: no name of a repository.
        PretrainedUnavailable: a repository that cannot be downloaded.
    """
    repository = str(source)
    if Path(source).suffix == ".safetensors" or not _REPOSITORY.fullmatch(repository):
        raise FileNotFoundError(
            f"expected a {kind}'s file, a folder with {file_name} or a repository "
            f"('user/name'), got {source}"
        )
    cached = huggingface_hub.try_to_load_from_cache(repository, file_name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    try:
        check_connection()
        return Path(huggingface_hub.hf_hub_download(repository, file_name, revision=revision))
    except Exception as error:  # the hub, its transport and the socket each raise their own
        raise PretrainedUnavailable(
            f"{kind} '{repository}' is no path here, and could not be had from the hub: "
            f"{_first_line(error)}"
        ) from error


def push(path: Path, kind: str, repository: str, private: bool, token: str | None) -> str:
    """Uploads a file; returns the commit's address.

    Raises:
        ConnectionError: the hub cannot be reached, or refuses.
    """
    try:
        check_connection()
        api = huggingface_hub.HfApi(token=token)
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_file(
            path_or_fileobj=path,
            path_in_repo=path.name,
            repo_id=repository,
            commit_message=f"Upload a sparse_ovs {kind}",
        )
    except Exception as error:  # the hub, its transport and the socket each raise their own
        raise ConnectionError(
            f"{kind} could not be uploaded to '{repository}': {_first_line(error)}"
        ) from error
    return str(done)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
