"""Scenes of emoji: pictures of the same things by nine vendors."""

from sparse_ovs.data.emoji.concepts import CONCEPTS, Concept
from sparse_ovs.data.emoji.grounds import GROUNDS
from sparse_ovs.data.emoji.packages import MissingPackages
from sparse_ovs.data.emoji.scenes import HANDS, PLAIN, EmojiScene, EmojiScenes, Hands
from sparse_ovs.data.emoji.vendors import VENDORS, Vendor

__all__ = [
    "CONCEPTS",
    "GROUNDS",
    "HANDS",
    "PLAIN",
    "VENDORS",
    "Concept",
    "EmojiScene",
    "EmojiScenes",
    "Hands",
    "MissingPackages",
    "Vendor",
]
