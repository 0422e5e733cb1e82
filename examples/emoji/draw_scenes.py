"""Draws the scenes that the package brings for `segment --demo`: python draw_scenes.py FOLDER."""

import json
import sys
from pathlib import Path

from sparse_ovs.data.emoji import CONCEPTS, GROUNDS, EmojiScenes

COUNT, SIZE, OTHERS = 16, 256, 3


def main(folder: Path) -> None:
    """Twemoji's hand, which no training showed; words are what is there, and a few that are not."""
    scenes = EmojiScenes("val", SIZE, COUNT, seed=1)
    things = scenes.classes[len(GROUNDS) :]
    folder.mkdir(parents=True, exist_ok=True)
    words = []
    for number in range(COUNT):
        scene = scenes.scene(number)
        scenes[number].image.save(folder / f"{number:02d}.jpg", quality=90)
        there = [list(GROUNDS)[scene.ground], *(CONCEPTS[place].name for place in scene.concepts)]
        absent = [things[(7 * number + 31 * k) % len(things)] for k in range(OTHERS)]
        words.append("; ".join(dict.fromkeys([*there, *absent])))
    (folder / "words.json").write_text(json.dumps(words, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
