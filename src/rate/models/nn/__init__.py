"""Parts of models: attention, transformer layers, valves, convolutions and scans."""
