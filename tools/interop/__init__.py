"""The relay between software that nobody here wrote: reference PDSes and PLC directory before it, the reference
TypeScript consumer and the Python SDK behind it. `make interop` runs it.
"""
