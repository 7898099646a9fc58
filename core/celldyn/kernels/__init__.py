"""What compiled code of several systems is made of: numbers in vector registers, threads.

Its modules import numba, all but `threads`.
"""
