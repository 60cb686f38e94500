"""`make mutants`: the modules that decide, changed in one place at a time, against the tests that reach that place.

A driver of our own around `ast`, coverage and `fork`, for neither tool fits: mutmut changes bodies of functions alone,
and the limits of a proof stand at the top of modules; cosmic-ray starts one process a mutant with one command for all
of them, and importing torch and the runtimes takes longer than most of the tests.
"""
