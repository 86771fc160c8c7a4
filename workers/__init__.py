"""The long-running processes of Kith: embed, publish and upkeep workers."""

import os

# Read by numpy's BLAS once, when it is loaded, so it must stand before anything that imports numpy. A worker's threads
# are many already, and each one's products are small: BLAS threads of their own make all of them spin, waiting for each
# other, as soon as another process wants a core too (measured: a quarter of the images/s). torch has its own setting.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
