"""Writes the numpy files in tests/data/arrays. Needs numpy 2."""
import io
import pathlib
import zipfile

import numpy as np

OUT = pathlib.Path(__file__).parent / "arrays"
OUT.mkdir(exist_ok=True)

grid = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
arrays = {
    "f4": grid,
    "fortran": np.asfortranarray(grid),
    "bool": np.array([True, False, True]),
    "i1": np.array([-1, 2], np.int8),
    "u2": np.array([65535], np.uint16),
    "i8": np.array(-7, np.int64),
    "f2": np.array([1.5, -2], np.float16),
    "f8": np.array([[0.1]]),
    "c16": np.array([1 + 2j]),
    "empty": np.zeros((0, 3), np.int32),
    "unicode": np.array([["grün", ""], ["\U0001F600", "abc"]]),
    "bytes": np.array([b"ab", b"\xff"]),
}
fixed_date = (1980, 1, 1, 0, 0, 0)
for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
    with zipfile.ZipFile(OUT / f"{name}.npz", "w", method) as archive:
        for key, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            info = zipfile.ZipInfo(key + ".npy", fixed_date)
            info.compress_type = method
            # numpy itself asks for ZIP64 headers too.
            with archive.open(info, "w", force_zip64=name == "stored") as out:
                out.write(buffer.getvalue())
np.save(OUT / "big_endian.npy", np.arange(3, dtype=">f4"))
np.save(OUT / "object.npy", np.array([None, 1], dtype=object))
np.save(OUT / "structured.npy", np.zeros(2, [("a", "f4")]))
np.save(OUT / "fortran.npy", np.asfortranarray(grid[0]))
