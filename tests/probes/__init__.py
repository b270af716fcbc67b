"""Random cases of every exercise, independent of the checks, by which the mutation harness tells a changed behavior.

One module per topic with `PROBES`: name → function `(subject, rng)` that makes ONE random case by `subject.call(...)`; the
harness compares what a mutant answers with what the solution answers. A case holds only what the contract promises.
"""
