"""Cameras: pictures come in, faces are found and followed, the best crops of each person go to the workers.

    source → newest → gate → find → tracker → picking → sending

One process serves several cameras (`python -m producers.camera`, `kith cameras run`); several processes share them by
leases (kith.cameras). No torch: the detector runs in onnxruntime on the CPU.
"""
