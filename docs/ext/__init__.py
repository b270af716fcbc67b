"""What the site's pages are made from: `python -m docs.ext` writes their generated parts, Sphinx loads two extensions.

`concept_map`, `families` and `references` make text and pictures of the notebooks' heads, of measured results and of
the bibliography. `repository_links` and `docstrings` are extensions: links and docstrings that are written to be read in the
repository are read on the site as well.
"""
