"""Shoal in Ray Data: a sink that writes a dataset into a collection, and collections as datasets. Needs shoal[ray].

    import shoal.ray

    dataset.write_datasink(shoal.ray.Sink("localhost:7600", "things", id="id", vector="embedding"))
    dataset = shoal.ray.read("localhost:7600", "things", {"lang": "en"})

This room knows Ray Data and Arrow, and nothing of the wire: it calls the SDK. `import shoal` does not import it.
"""

from __future__ import annotations

try:
    import pandas as _pandas
    import pyarrow as _pyarrow
    import ray.data as _data
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("ray", "pyarrow", "pandas", "fsspec"):
        raise
    raise ImportError("shoal.ray needs ray[data]: pip install 'shoal[ray]'", name=error.name) from error

from shoal.ray.reading import read
from shoal.ray.sink import Sink, SinkResult

del _data, _pandas, _pyarrow

__all__ = ["Sink", "SinkResult", "read"]
