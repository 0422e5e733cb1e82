"""One process a contestant: so thread pools do not fight, and each may have its own packages."""
