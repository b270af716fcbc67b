"""What flows reach at an equal budget: each library with its own start and with this course's recipe.

A run is a data set, a library, a recipe and a seed: the same affine couplings (`benchmarks.peers`), the same data, the
same order of batches, the same number of steps. So the table says what comes from the library and what from the recipe.
"""
