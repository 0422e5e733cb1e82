"""Names of classes, and the ids that files have for them, where the lists are short."""

from __future__ import annotations

VOC20 = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa",
    "train", "tv monitor",
)  # fmt: skip
"""VOC 2012: pixel value v is class v - 1."""

PC59_IDS = {
    2: "aeroplane", 9: "bag", 18: "bed", 19: "bedclothes", 22: "bench", 23: "bicycle",
    25: "bird", 31: "boat", 33: "book", 34: "bottle", 44: "building", 45: "bus",
    46: "cabinet", 59: "car", 65: "cat", 68: "ceiling", 72: "chair", 80: "cloth",
    85: "computer", 98: "cow", 104: "cup", 105: "curtain", 113: "dog", 115: "door",
    144: "fence", 158: "floor", 159: "flower", 162: "food", 187: "grass", 189: "ground",
    207: "horse", 220: "keyboard", 232: "light", 258: "motorbike", 259: "mountain",
    260: "mouse", 284: "person", 295: "plate", 296: "platform", 308: "potted plant",
    324: "road", 326: "rock", 347: "sheep", 349: "shelves", 354: "sidewalk", 355: "sign",
    360: "sky", 366: "snow", 368: "sofa", 397: "table", 415: "track", 416: "train",
    420: "tree", 424: "truck", 427: "tv monitor", 440: "wall", 445: "water",
    454: "window", 458: "wood",
}  # fmt: skip
"""Pascal Context: id in the annotation file -> name; classes are in the order of the ids."""

PC59 = tuple(PC59_IDS.values())

VOC_THEN_CONTEXT = VOC20 + tuple(
    name for name in PC59 if name != "table" and name not in VOC20
)  # "table" is VOC's dining table
"""The 59 names of Pascal Context with VOC's 20 first: what CAT-Seg's "PAS-20b" asks for."""

CITYSCAPES_IDS = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
    19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky",
    24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Cityscapes: id in `*_labelIds.png` -> name, in the order of the train ids."""

_COCO_THINGS = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, "
    "fire hydrant, -, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, "
    "elephant, bear, zebra, giraffe, -, backpack, umbrella, -, -, handbag, tie, suitcase, "
    "frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, -, wine glass, cup, fork, knife, spoon, bowl, banana, "
    "apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, "
    "potted plant, bed, -, dining table, -, -, toilet, -, tv, laptop, mouse, remote, keyboard, "
    "cell phone, microwave, oven, toaster, sink, refrigerator, -, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush, -"
)
_COCO_STUFF = (
    "banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, "
    "ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, "
    "dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, "
    "flower, fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, "
    "leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, "
    "pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, "
    "roof, rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, "
    "straw, structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, "
    "wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, "
    "waterdrops, window-blind, window-other, wood"
)


def plain(name: str) -> str:
    """COCO's name as words: `wall-other-merged` -> `wall`, `floor-wood` -> `floor wood`."""
    name = name.removesuffix("-merged").removesuffix("-other")
    return name.replace("-", " ")


COCO_STUFF_IDS = {
    value: plain(name)
    for value, name in enumerate(f"{_COCO_THINGS}, {_COCO_STUFF}".split(", "))
    if name != "-"
}
"""COCO-Stuff: pixel value -> name; 171 of the values 0..181, those between were never drawn."""
