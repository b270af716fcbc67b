"""Stands before pip; see `__main__`."""
