"""What `import sparse_ovs` costs and gives, in processes that have imported nothing before."""

from __future__ import annotations

import importlib.util
import pkgutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import _after_import

SLOW = ("torch", "timm", "open_clip", "torchvision", "rich", "typer", "PIL", "scipy")
# Functions that DESIGN promises for later, beside those that there are.
TO_COME = ("quantize", "compress", "elastic", "from_onnx", "create_detector", "create_captioner")


def run(code: str) -> None:
    """-P: the package is the one that is installed, not one that lies in the current folder."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.sparse_ovs.avg_pool2x2(x)


def test_the_package_alone_imports_little_and_still_has_all_its_names(tmp_path: Path) -> None:
    program = tmp_path / "pooled.pt2"
    torch.export.save(torch.export.export(Pooled(), (torch.ones(1, 2, 4, 4),)), program)
    run(
        f"""
        import sys, types
        import sparse_ovs

        slow = [name for name in {SLOW!r} if name in sys.modules]
        assert not slow, slow

        # Programs find our operations.
        import torch
        assert "torch._dynamo" not in sys.modules
        loaded = torch.export.load({str(program)!r}).module()
        assert loaded(torch.ones(1, 2, 4, 4)).shape == (1, 2, 2, 2)

        # Modules are there without an import of their own, and take no function's name.
        assert sparse_ovs.heads.HEADS and sparse_ovs.backbones.default_scope
        import sparse_ovs.compilation, sparse_ovs.nn.sparsify
        missing = [name for name in sparse_ovs.__all__ if not hasattr(sparse_ovs, name)]
        assert not missing, missing
        found = {{name: getattr(sparse_ovs, name) for name in sparse_ovs.__all__}}
        modules = [name for name, it in found.items() if isinstance(it, types.ModuleType)]
        assert modules == ["timm_models"], modules
        from sparse_ovs import *
        assert compile is sparse_ovs.compilation.compile
        assert set(sparse_ovs.__all__) <= set(dir(sparse_ovs))
        """
    )


# What ops imports, and imports torch itself; the others are tried by the slow test.
_FIRST = ["sparse_ovs.patterns", "sparse_ovs._cuda"]


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(name, marks=[] if name in _FIRST else pytest.mark.slow)
        for name in (
            f"sparse_ovs.{found.name}" for found in pkgutil.iter_modules(sparse_ovs.__path__)
        )
    ],
)
def test_any_module_may_be_the_first_that_is_imported(module: str) -> None:
    run(
        f"""
        import {module}
        import torch
        assert torch.ops.sparse_ovs.avg_pool2x2(torch.ones(1, 2, 4, 4)).shape == (1, 2, 2, 2)
        """
    )


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'sparse_ovs' has no attribute 'sparsity'"):
        _ = sparse_ovs.sparsity  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'sparsity'"):
        from sparse_ovs import sparsity  # type: ignore[attr-defined]  # noqa: F401


def test_no_module_of_the_package_has_the_name_of_a_public_function() -> None:
    functions = {*sparse_ovs.__all__, *TO_COME} - {"timm_models"}
    taken = [name for name in functions if importlib.util.find_spec(f"sparse_ovs.{name}")]
    assert taken == []


def test_timm_has_our_models_where_it_is_imported_after_us() -> None:
    run(
        """
        import importlib.machinery, importlib.util, sys
        import sparse_ovs
        # Libraries ask whether timm is there before they import it, or never do.
        assert importlib.util.find_spec("timm") is not None and "timm" not in sys.modules
        import segmentation_models_pytorch as smp
        import timm

        assert type(timm.__spec__.loader) is importlib.machinery.SourceFileLoader
        assert "exec_module" not in vars(timm.__spec__.loader)
        assert not [f for f in sys.meta_path if type(f).__module__.startswith("sparse_ovs")]
        assert timm.is_model("sparse_resnet50_clip")
        assert "open_clip" not in sys.modules
        smp.Unet("tu-sparse_resnet50_clip", encoder_weights=None)
        ours = sparse_ovs.timm_models.sparse_resnet50_clip
        assert timm.model_entrypoint("sparse_resnet50_clip") is ours
        """
    )


def test_torch_and_timm_have_what_is_ours_where_they_were_imported_before_us() -> None:
    run(
        """
        import timm, torch
        import sparse_ovs
        assert timm.is_model("sparse_resnet50_clip")
        assert torch.ops.sparse_ovs.avg_pool2x2(torch.ones(1, 2, 4, 4)).shape == (1, 2, 2, 2)
        """
    )


def test_the_command_says_what_it_can_without_torch() -> None:
    run(
        """
        import sys
        from sparse_ovs.cli import main
        sys.argv = ["sparse-ovs", "--help"]
        try:
            main()
        except SystemExit as done:
            assert done.code == 0
        assert "torch" not in sys.modules
        """
    )


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What registered itself with a timm that lies in tmp_path, which is not imported yet."""
    done: list[str] = []
    monkeypatch.setattr(_after_import, "import_module", done.append)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    mine = sys.modules.pop("timm", None)
    importlib.invalidate_caches()
    _after_import.import_after("timm", "ours")
    yield done
    sys.modules.pop("timm", None)
    if mine is not None:
        sys.modules["timm"] = mine


def test_a_missing_timm_is_missing_as_ever(registered: list[str]) -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'timm'"):
        import_timm()
    assert registered == []


def test_a_timm_that_fails_fails_as_ever_and_may_be_imported_again(
    registered: list[str], tmp_path: Path
) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('half installed')")
    with pytest.raises(RuntimeError, match="half installed"):
        import_timm()
    assert registered == []
    (tmp_path / "timm.py").write_text("name = 'timm, now whole'")
    import_timm()
    assert registered == ["ours"]
    assert sys.meta_path == [PathFinder]


def test_a_folder_that_is_called_timm_is_not_taken_for_it(
    registered: list[str], tmp_path: Path
) -> None:
    (tmp_path / "timm").mkdir()
    import_timm()
    assert registered == []


def import_timm() -> None:
    importlib.import_module("timm")
