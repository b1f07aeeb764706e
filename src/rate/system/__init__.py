"""The machine and its processes: workers, signals, devices, progress, provenance."""
