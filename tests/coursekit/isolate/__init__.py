"""Tests of `coursekit.isolate`."""
