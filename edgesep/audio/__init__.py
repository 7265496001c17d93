"""Sound going in and out: files, batches of files, raw pipes, resampling."""
