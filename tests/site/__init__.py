"""The web site: its pages as built (`python -m tests.site FOLDER`), and what makes them."""
