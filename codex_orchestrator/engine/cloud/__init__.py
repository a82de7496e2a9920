"""Commands on a Dask cluster: the engine, what it sends to workers, and what runs there."""
