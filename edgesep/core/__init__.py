"""The C99 core: sources, pinned tables and the builder of `edgesep._core`."""
