"""One file for each public dataset: where its files lie, raw or prepared, and what its ids mean."""
