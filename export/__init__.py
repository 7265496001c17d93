"""Train, quantize, convert and score mask models; nothing here is needed at run time."""
