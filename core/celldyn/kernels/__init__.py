"""What compiled code of several systems is made of: numbers in vector registers.

Importing a module of this package imports numba.
"""
