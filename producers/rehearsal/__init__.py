"""Rehearsals: people drawn walking past cameras, played by a real RTSP server, so that what cameras make of them can be
held against what is known to have been there. The demo, the benchmarks and the tests play them."""
