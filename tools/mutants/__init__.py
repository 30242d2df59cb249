"""Deliberate bugs, each with the test that must notice it: what the tests are worth, measured.

Owns: the list of bugs (one module for each part of the relay), the runner, and the page `docs/mutants.md`. Refuses to
own: the tests, and any change to the working tree: bugs are made in a copy.
"""
