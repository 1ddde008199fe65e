"""The tests. Every process of them computes in one thread, because several run beside each other.

numpy and faiss read the variable at their first import. Threads that wait for each other on busy cores take many times
the processor time of one thread.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
