"""Mutation test of the checks: mechanically made wrong variants of every solution, and how many of them are rejected.

`python -m tests.mutants 03_masked_coupling --only Flow` (see `__main__`); the variants are made by `mutate`, judged by `harness`.
"""
