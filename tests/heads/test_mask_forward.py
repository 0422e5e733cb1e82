"""The mask heads' forward, against the same once more in plain fp64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.heads import FCCLIP, MaskOutput, create_head
from sparse_ovs.text import TextEmbeddings
from support import straightforward
from support.small_clips import CONVNEXT, RN, VIT, small_backbone
from support.small_mask_heads import HEADS, WORDS, random_text, small_head, small_maps


def exact(text: TextEmbeddings) -> TextEmbeddings:
    """Rows of unit length in fp64."""
    return TextEmbeddings(F.normalize(text.rows.double(), dim=1), text.vocabulary)


def by_class(text: TextEmbeddings) -> list[Tensor]:
    return list(exact(text).rows.split([len(c) for c in text.vocabulary.classes]))


def assert_close(ours: Tensor, plain: Tensor) -> None:
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_every_point_is_that_of_a_plain_computation(name: str) -> None:
    head, backbone, text = small_head(name)
    maps = [x.double() for x in small_maps(backbone)]
    state = head.state_dict()
    output = head.double().train()(maps, exact(text))
    plain = straightforward.maskformer if name == "maskformer" else straightforward.fcclip_trained
    for image in range(2):
        alone = [x[image : image + 1] for x in maps]
        points = plain(state, alone, by_class(text), head.sizes.heads)
        assert len(points) == len(output.points) == 4
        for point, (logits, masks) in zip(output.points, points, strict=True):
            assert_close(point.class_logits[image], logits)
            assert_close(point.mask_logits[image], masks)


@torch.no_grad()
def test_outside_of_training_fcclip_joins_clips_attention_pool_under_each_mask() -> None:
    head, backbone, text = small_head("fcclip")
    assert isinstance(head, FCCLIP)
    head.seen = ("kitten", "grass")
    # One channel is the same everywhere, and lowers all masks: some have no cell then.
    head.pixel_decoder.mask_features.weight[0] = 0
    head.pixel_decoder.mask_features.bias[0] = 1
    head.decoder.mask_embed.layers[-1].weight[0] = 0
    head.decoder.mask_embed.layers[-1].bias[0] = -1.35
    maps = [x.double() for x in small_maps(backbone, 1)]
    pool = backbone.clip.attention_pool
    assert pool is not None
    of_pool = pool.state_dict()
    backbone.double()
    output = head.double()(maps, exact(text))
    (logits, masks) = straightforward.fcclip_trained(
        head.state_dict(), maps, by_class(text), head.sizes.heads
    )[-1]
    scale = backbone.clip.logit_scale.double().exp().clamp(max=100)
    other: list[Tensor | None] = []
    for mask in straightforward.resize(masks, *maps[-1].shape[-2:]):
        vector = straightforward.resnet_region(of_pool, maps[-1][0], mask, pool.num_heads)
        other.append(
            None
            if vector is None
            else straightforward.class_logits(vector[None], by_class(text), scale)[0]
        )
    assert 0 < sum(o is None for o in other) < len(other)  # both kinds of masks are here
    plain = straightforward.joined(logits, other, [True, False, False, True], (0.4, 0.8))
    assert_close(output.class_logits[0].exp(), plain)


@torch.no_grad()
def test_outside_of_training_fcclip_joins_a_convnexts_means_through_clips_last_layers() -> None:
    head, backbone, text = small_head("fcclip", CONVNEXT)
    maps = [x.double() for x in small_maps(backbone, 1)]
    backbone.double()
    output = head.double()(maps, exact(text))
    (logits, masks) = straightforward.fcclip_trained(
        head.state_dict(), maps, by_class(text), head.sizes.heads
    )[-1]
    visual = backbone.clip.visual
    norm, projection = visual.trunk.head.norm, visual.head.proj
    scale = backbone.clip.logit_scale.double().exp().clamp(max=100)
    means = torch.stack(
        [
            straightforward.mean_under_mask(maps[-1][0], mask)
            for mask in straightforward.resize(masks, *maps[-1].shape[-2:])
        ]
    )
    normed = F.layer_norm(means, means.shape[1:], norm.weight, norm.bias, norm.eps)
    vectors = normed @ projection.weight.T
    other = list(straightforward.class_logits(vectors, by_class(text), scale))
    plain = straightforward.joined(logits, other, [False] * 4, (0.4, 0.8))
    assert_close(output.class_logits[0].exp(), plain)


@torch.no_grad()
def test_fp32_is_the_same_up_to_rounding() -> None:
    head, backbone, text = small_head("maskformer")
    maps = small_maps(backbone)
    single = head(maps, text)
    double = head.double()([x.double() for x in maps], exact(text))
    torch.testing.assert_close(
        single.class_logits, double.class_logits.float(), rtol=1e-3, atol=1e-3
    )


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("clip", [RN, CONVNEXT])
def test_images_of_a_batch_do_not_see_each_other(name: str, clip: str) -> None:
    head, backbone, text = small_head(name, clip)
    maps = small_maps(backbone)
    both = head.predict(head(maps, text))
    for image in range(2):
        alone = head.predict(head([x[image : image + 1] for x in maps], text))
        torch.testing.assert_close(both[image], alone[0], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_training_and_inference_predict_the_same() -> None:
    head, backbone, text = small_head("maskformer")
    maps = small_maps(backbone)
    last = head(maps, text)
    every = head.train()(maps, text)
    assert len(last.points) == 1
    torch.testing.assert_close(every.class_logits, last.class_logits)
    torch.testing.assert_close(every.mask_logits, last.mask_logits)


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_scores_are_sums_of_classes_times_masks(name: str) -> None:
    head, backbone, text = small_head(name)
    output = head(small_maps(backbone), text)
    classes = head.class_probabilities(output)
    torch.testing.assert_close(classes.sum(-1), torch.ones(2, head.sizes.queries))
    expected = torch.einsum("nqk,nqhw->nkhw", classes[..., :-1], output.mask_logits.sigmoid())
    scores = head.predict(output)
    assert scores.shape == (2, len(WORDS), 16, 24)
    torch.testing.assert_close(scores, expected)


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_masks_that_are_positive_nowhere_leave_no_nan(name: str) -> None:
    head, backbone, text = small_head(name)
    head.pixel_decoder.mask_features.weight.zero_()
    head.pixel_decoder.mask_features.bias.fill_(1.0)
    head.decoder.mask_embed.layers[-1].weight.zero_()
    head.decoder.mask_embed.layers[-1].bias.fill_(-1.0)
    output = head(small_maps(backbone), text)
    assert (output.mask_logits < 0).all()
    assert head.predict(output).isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_autocast_leaves_the_output_finite(name: str) -> None:
    head, backbone, text = small_head(name)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert head.predict(head(small_maps(backbone), text)).isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_a_vit_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"expected a CLIP ResNet or ConvNeXt for {name}, got"):
        create_head(name, small_backbone(VIT))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"queries": 0}, "expected queries of at least 1, got 0"),
        ({"dim": 48}, "expected a dim that is a multiple of 32 and of the 8 heads, got 48"),
        ({"dim": 96, "heads": 5}, "multiple of 32 and of the 5 heads, got 96"),
        ({"dim": 64.0}, "expected dim of at least 1, got 64.0"),
        ({"seen_weight": 1.5}, "expected seen_weight from 0 to 1, got 1.5"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_head("fcclip", small_backbone(), sizes)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("size", [(512, 512), (640, 640), (800, 1216)])
def test_paper_sizes_give_scores_at_a_quarter_of_the_pixels(
    name: str, size: tuple[int, int], rn50
) -> None:
    head = create_head(name, rn50)
    text = random_text(1024)
    output = head(rn50(torch.randn(1, 3, *size)), text)
    assert isinstance(output, MaskOutput)
    queries = 100 if name == "maskformer" else 250
    cells = (size[0] // 4, size[1] // 4)
    assert output.class_logits.shape == (1, queries, len(WORDS) + 1)
    assert output.mask_logits.shape == (1, queries, *cells)
    scores = head.predict(output)
    assert scores.shape == (1, len(WORDS), *cells)
    assert scores.isfinite().all()
