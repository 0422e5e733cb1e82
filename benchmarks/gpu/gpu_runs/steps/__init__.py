"""What is run in child processes: each module has `run(item, place)`, which yields rows.

A row is a dict of plain values whose `kind` says what it holds: `machine`, `ceiling`, `check`,
`layer`, `model`, `tests`, `counters`, `sanitizer`, `launch` (of a rehearsal) or `problem`.
"""
