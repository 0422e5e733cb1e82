"""A quarter of an hour on a GPU: what is run, in which order, and what is written down.

The list, the runner and the report need Python alone; torch is imported in the children that run
the steps.
"""
