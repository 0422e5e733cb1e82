"""What tests share: small models and runs, oracles, problems, scripts for other processes."""
