def test_a_collection_from_creation_to_drop(shoal):
    made = shoal("collection", "create", "c", "--dim", 4, "--metric", "cosine", "--shards", 2)
    assert (made.code, made.out, made.err) == (0, "created c: dim 4, cosine, 2 shards\n", "")
    listed = shoal("collection", "list")
    assert listed.out.splitlines() == [
        "NAME  STATE   DIM  METRIC  SHARDS  REPLICAS  INDEX",
        "c     active    4  cosine       2         1  auto",
    ]
    assert "points" in shoal("collection", "show", "c").out
    assert shoal("collection", "optimize", "c").out.startswith("optimized c in")
    dropped = shoal("collection", "drop", "c", "--yes")
    assert (dropped.code, dropped.out) == (0, "dropped c\n")
    assert shoal("collection", "list", "--json").document == []


def test_json_for_programs(shoal):
    assert shoal("collection", "create", "c", "--dim", 4, "--json").document == {"created": "c"}
    described = {"name": "c", "id": "id-c", "state": "active", "dim": 4, "metric": "l2", "shards": 1, "replicas": 1, "index": "auto"}
    assert shoal("collection", "list", "--json").document == [described]
    held = {"points": 0, "growing_rows": 0, "sealed_rows": 0, "segments": 0, "builds_pending": 0, "bytes": 2048, "memory_bytes": 512}
    assert shoal("collection", "show", "c", "--json").document == described | held
    assert shoal("collection", "optimize", "c", "--json").document["optimized"] == "c"
    assert shoal("collection", "drop", "c", "--yes", "--json").document == {"dropped": "c"}


def test_show_tells_sizes_in_units_people_read(shoal):
    shoal("collection", "create", "c", "--dim", 4)
    lines = shoal("collection", "show", "c").out.splitlines()
    shown = dict(line.split("  ", 1) for line in lines[1:])
    told = {name.strip(): value.strip() for name, value in shown.items()}
    assert (told["on disk"], told["in memory"]) == ("2.0 KiB", "512 B")
    assert {"points", "growing rows", "sealed rows", "segments", "builds pending"} <= set(told)


def test_drop_asks_first(shoal):
    shoal("collection", "create", "c", "--dim", 4)
    refused = shoal("collection", "drop", "c", typed="n\n")
    assert refused.code == 1
    assert "dropped c" not in refused.out
    assert "error: collection c was not dropped; answer y, or pass --yes" in refused.err
    nobody = shoal("collection", "drop", "c", typed="")
    assert nobody.code == 1
    assert "c" in shoal.cluster.specs
    assert shoal("collection", "drop", "c", typed="y\n").code == 0
    assert "c" not in shoal.cluster.specs


def test_errors_are_one_line_with_what_to_do_next(shoal):
    shoal("collection", "create", "c", "--dim", 4)
    twice = shoal("collection", "create", "c", "--dim", 4)
    assert (twice.code, twice.out) == (1, "")
    assert twice.err == "error: collection 'c' exists; choose another name, or drop the old one with `shoal collection drop`\n"
    unknown = shoal("collection", "show", "nope", "--json")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err == "error: collection 'nope' does not exist; `shoal collection list` shows what there is\n"
    bad = shoal("collection", "create", "a b", "--dim", 4)
    assert bad.code == 1
    assert len(bad.err.splitlines()) == 1
