"""The paper's tables, re-run: in seconds, in miniature, or as they were."""
