"""The course in a real browser: `make e2e`."""
