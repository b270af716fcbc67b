"""Speed of layers: flowlib, a flow written by hand, and other libraries, in one process and by turns."""
