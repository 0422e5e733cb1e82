"""Class names in words, and what CLIP's text tower makes of them."""

from sparse_ovs.text.embeddings import TextEmbeddings, embed_vocabulary
from sparse_ovs.text.templates import TEMPLATES, find_templates
from sparse_ovs.text.vocabulary import Vocabulary

__all__ = [
    "TEMPLATES",
    "TextEmbeddings",
    "Vocabulary",
    "embed_vocabulary",
    "find_templates",
]
