"""The notebook of the examples runs on a real cluster, cell by cell, and shows what it promises."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import shoal
from tests.support.cluster.role_cluster import RoleCluster
from tests.support.repository import ROOT

NOTEBOOK = ROOT / "examples/notebook/first_steps.ipynb"
CELL_S = 60


def shown(cell: Any, kind: str) -> str:
    """Return what a cell showed, of one kind of content, joined."""
    results = (output.data.get(kind, "") for output in cell.outputs if output.output_type in ("execute_result", "display_data"))
    return "".join(results)


@pytest.mark.timeout(150)
def test_every_cell_runs_and_shows_what_it_should(
    shared_cluster: RoleCluster, client: shoal.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOAL_ADDRESS", shared_cluster.address)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == [], "outputs are not kept"
    NotebookClient(notebook, timeout=CELL_S, kernel_name="python3").execute()
    connected, frame, written, nearest, filtered, points, _ = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert shown(connected, "text/plain") == f"<shoal.Client {shared_cluster.address}>"
    assert "<table" in shown(frame, "text/html")
    assert [output.data["text/plain"] for output in written.outputs][1:] == ["2000"]
    bar = written.outputs[0].data["text/html"]
    assert bar.startswith('<div>upsert notebook <progress value="2000" max="2000"></progress> 2,000/2,000, ')
    assert bar.endswith(" rows/s</div>")
    table = shown(nearest, "text/html")
    assert table.startswith(
        "<table><thead><tr><th>id</th><th>score</th><th>name</th><th>price</th></tr></thead><tbody><tr><td>7</td><td>1</td>"
    )
    assert table.count("<tr>") == 4
    assert shown(filtered, "text/html").count("<td>birch</td>") == 3
    assert "<table" in shown(points, "text/html")
    assert not client.collection_exists("notebook")
