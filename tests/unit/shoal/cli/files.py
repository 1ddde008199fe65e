"""Write files to import, and read what was imported."""

import json

import numpy as np


def jsonl(folder, *lines, name="p.jsonl"):
    file = folder / name
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return file


def npy(folder, array, name="v.npy"):
    np.save(folder / name, array)
    return folder / name


def held(shoal, name="c"):
    return {key: (row.tolist(), payload and json.loads(payload)) for key, (row, payload) in shoal.cluster.points[name].items()}


def refusal(shoal, *words):
    ended = shoal("import", *words, "--collection", "c")
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("error: ")
    return ended.err
