"""flowlib against other libraries of flows, with the same weights: `make test-peers` installs them."""
