"""Second-order compression after training: layers pruned and rounded so that their outputs stay."""
