"""Rules of the ops that compute gradients, one file per family of their forward ops.

Each is counted as a textbook writes the derivative, from what torch hands it: an intermediate value that the forward
kept is not computed again, one that it did not keep is. Where an op returns several gradients, ``output_mask`` says
which are wanted, and only those are counted.
"""
