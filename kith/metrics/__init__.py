"""What the processes of Kith tell Prometheus, and whoever asks whether they are live and ready. docs/metrics.md."""
