"""Speed and memory, measured side by side with a textbook baseline: `python -m benchmarks`."""
