"""The checks, one module per assignment; `ASSIGNMENT` in each says which."""
