"""What a results file says: verdicts, bounds, rules and tables; plain Python."""
