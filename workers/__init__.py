"""The long-running processes of Kith: embed, publish and upkeep workers."""

import os

# Both are read once, when the libraries are loaded, so they must stand before anything that imports numpy or torch.
# A worker's threads are many already and each one's matrix products are small: BLAS threads of their own spin, waiting
# for each other, as soon as another process wants a core too (measured: a quarter of the images/s).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# torch's threads sleep between two batches instead of spinning: the threads that fetch and decode the next batch want
# those cores (measured on two: a sixth more images/s, the same latency).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
