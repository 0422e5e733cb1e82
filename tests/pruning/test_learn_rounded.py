"""Quantisation-aware repair: what it trains, what stays, and that int8 is the better for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sparse_ovs
from sparse_ovs import quantize
from sparse_ovs.backbones import Backbone
from sparse_ovs.engine import Quantization
from sparse_ovs.loop import GeneratedBatches
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.pruning import SubnetworkSettings, find_subnetwork, run
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.learn_rounded import learn_rounded, maps_distillation
from support.small_clips import RN, VIT, small_backbone


def images(number: int = 0, count: int = 4) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(number))


def batches() -> GeneratedBatches:
    return GeneratedBatches(images, 4)


def pruned() -> tuple[Backbone, LabelFreeDistillation, dict[str, Tensor]]:
    """A pruned encoder, the loss towards its dense self, and the masks."""
    backbone = small_backbone(RN)
    loss = maps_distillation(backbone)
    found = find_subnetwork(SubnetworkSettings("oneshot", density=0.3), backbone)
    return backbone, loss, found.masks


def learn(backbone: Backbone, loss: Any, masks: Any, steps: int, **more: Any) -> Quantization:
    training = run.TrainSettings(steps, lr=1e-3, checkpoint_every=2)
    return learn_rounded(backbone, masks, [images()], batches(), loss, training, **more)


def int8_loss(backbone: Backbone, loss: Any, quantization: Quantization) -> float:
    x = images(99)
    fast = sparse_ovs.compile(backbone, x, 1, precision="int8", quantization=quantization)
    with torch.no_grad():
        return float(loss(fast, x)["loss"])


def test_int8_is_nearer_to_the_dense_encoder_afterwards() -> None:
    backbone, loss, masks = pruned()
    before = int8_loss(backbone, loss, quantize(backbone, [images()]))
    quantization = learn(backbone, loss, masks, 12)
    assert int8_loss(backbone, loss, quantization) < 0.9 * before


def test_masks_statistics_modes_and_scales_of_maps_stay() -> None:
    backbone, loss, masks = pruned()
    scales = quantize(backbone, [images()]).values
    buffers = {name: each.clone() for name, each in backbone.named_buffers()}
    before = {n: w.detach().clone() for n, w in named_weights(backbone, backbone.scope()).items()}
    backbone.train()
    quantization = learn(backbone, loss, masks, 2)
    assert quantization.values == scales
    assert backbone.training
    for name, each in backbone.named_buffers():
        assert torch.equal(each, buffers[name])
    for name, weight in named_weights(backbone, backbone.scope()).items():
        assert not weight[~masks[name]].any()
    after = named_weights(backbone, backbone.scope())
    assert any(not torch.equal(after[name], before[name]) for name in before)


def test_a_run_that_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    backbone, loss, masks = pruned()
    learn(backbone, loss, masks, 4)
    again, loss, masks = pruned()

    class Stop(Exception):
        pass

    def stop(report: Any) -> None:
        if report.step == 3:
            raise Stop

    with pytest.raises(Stop):
        learn(again, loss, masks, 4, folder=tmp_path, report=stop)
    resumed, loss, masks = pruned()
    learn(resumed, loss, masks, 4, folder=tmp_path, resume=True)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_vits_class_token_does_not_count() -> None:
    assert maps_distillation(small_backbone(VIT)).embedding_weight == 0
    assert maps_distillation(small_backbone(RN)).embedding_weight == 1


def test_finding_a_subnetwork_ends_with_it_where_asked_for() -> None:
    backbone = small_backbone(RN)
    settings = SubnetworkSettings("oneshot", density=0.3, qat=2)
    found = find_subnetwork(settings, backbone, batches(), calibrate_on=[images()])
    assert found.quantization is not None
    assert found.quantization.values == quantize_before(found.masks).values
    assert (
        find_subnetwork(SubnetworkSettings("oneshot", density=0.3), small_backbone(RN)).quantization
        is None
    )


def quantize_before(masks: dict[str, Tensor]) -> Quantization:
    backbone, _, own = pruned()
    assert all(torch.equal(own[name], masks[name]) for name in masks)
    return quantize(backbone, [images()])


def test_it_needs_images() -> None:
    settings = SubnetworkSettings("oneshot", density=0.3, qat=2)
    with pytest.raises(ValueError, match="expected batches and images to calibrate on with qat"):
        find_subnetwork(settings, small_backbone(RN), batches())
    with pytest.raises(ValueError, match="expected qat of at least 0 steps, got -1"):
        SubnetworkSettings("oneshot", density=0.3, qat=-1)
