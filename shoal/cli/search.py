"""The command `shoal search`: the points nearest to one vector, or to each row of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.collection import NameArgument
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.filter_text import FilterOption, filter_of
from shoal.cli.fused_hits import FusedTable, explain_document, fused_document, show_explain
from shoal.cli.leg_options import (
    BoostOption,
    CandidatesOption,
    ConstantOption,
    DiversityOption,
    FusionOption,
    GroupByOption,
    GroupSizeOption,
    HighlightOption,
    LegSearch,
    MatchOption,
    MinScoreOption,
    MustNotOption,
    MustOption,
    OffsetOption,
    PhraseOption,
    PrefixOption,
    QueryVector,
    TextOption,
    ThresholdOption,
    WeightOption,
    leg_search_of,
)
from shoal.cli.matrix_files import matrix_of
from shoal.cli.segment_rows import explain_table
from shoal.cli.vector_options import names_of_vectors, vector_from
from shoal.client.client import Client
from shoal.client.legs import Dense, Text
from shoal.client.results import WORDLESS, Hit, Hits
from shoal.client.search_input import DEFAULT_K
from shoal.core.errors import InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS

MOST_QUERIES = 10_000
RecallOption = Annotated[
    float | None, typer.Option(metavar="R", help="Share of the true nearest to find, instead of the collection's own.")
]

_QUERIES_A_CALL = 1_000
_HITS_A_CALL = 100_000


def search(
    ctx: typer.Context,
    name: NameArgument,
    *,
    vector: Annotated[
        list[str] | None, typer.Option(metavar="JSON", help="One query, as in '[0.1, 0.2]'; repeated, with --using, to fuse several.")
    ] = None,
    vectors: Annotated[Path | None, typer.Option(metavar="FILE", help="Many queries: a matrix (n, dim), .npy, .fvecs or .bvecs.")] = None,
    using: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Name of the vector that is searched, one for each --vector, in order.")
    ] = None,
    text: TextOption = None,
    match: MatchOption = None,
    must: MustOption = None,
    must_not: MustNotOption = None,
    phrase: PhraseOption = None,
    prefix: PrefixOption = None,
    boost: BoostOption = None,
    k: Annotated[int | None, typer.Option("-k", "--k", help="Hits for each query (10; with --radius 16,384).")] = None,
    filters: FilterOption = None,
    radius: Annotated[float | None, typer.Option(metavar="S", help="Only hits with a score at least as good.")] = None,
    weight: WeightOption = None,
    min_score: MinScoreOption = None,
    fusion: FusionOption = None,
    c: ConstantOption = None,
    candidates: CandidatesOption = None,
    offset: OffsetOption = None,
    threshold: ThresholdOption = None,
    diversity: DiversityOption = None,
    group_by: GroupByOption = None,
    group_size: GroupSizeOption = None,
    highlight: HighlightOption = False,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every point.")] = False,
    recall: RecallOption = None,
    ef: Annotated[int | None, typer.Option(metavar="N", help="How far to search graphs, instead of --recall.")] = None,
    nprobe: Annotated[int | None, typer.Option(metavar="N", help="How many inverted lists to search, instead of --recall.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="With one query: tell how it was searched.")] = False,
    id_only: Annotated[bool, typer.Option("--id-only", help="Print ids only: one a line, or one line a query.")] = False,
    consistency: Annotated[str, typer.Option(help="any, session or primary.")] = "session",
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search by a vector (--vector), by words (--text), by several of these, or by every row of a file (--vectors)."""
    legs = leg_search_of(ctx.params)
    _check_queries(vector, vectors, legs, explain)
    names = names_of_vectors(using, len(vector or ()) if vectors is None else 1)
    breadths = {name: value for name, value in (("ef", ef), ("nprobe", nprobe)) if value is not None}
    options: dict[str, Any] = {"exact": exact, "recall": recall, "params": breadths or None, "consistency": consistency}
    options |= {"filter": filter_of(filters), "radius": radius, "with_payload": not id_only}
    with client_of(ctx, address, timeout) as client:
        if vectors is not None:
            _show_many(_answers(client, name, vectors, k, options | {"using": names[0]}), as_json, id_only)
        elif legs is None:
            (query,) = map(vector_from, vector or ())
            _show_one(client.search(name, query, k, explain=explain, using=names[0], **options), as_json, id_only, explain)
        else:
            given = legs.legs([QueryVector(vector=vector_from(each), using=of) for each, of in zip(vector or (), names, strict=True)])
            hits = client.search(name, k=k, legs=given, explain=explain, **legs.fused, **options)
            _show_fused(hits, given, legs.fused, as_json, id_only, explain)


def _check_queries(vector: Sequence[str] | None, vectors: Path | None, legs: LegSearch | None, explain: bool) -> None:
    if vectors is None:
        if not vector and (legs is None or legs.text is None):
            raise typer.BadParameter("without --text or other words, give either --vector or --vectors")
    elif vector:
        raise typer.BadParameter("give either --vector or --vectors")
    elif legs is not None:
        raise typer.BadParameter("--vectors searches by vectors only: texts, weights and the like go with one query")
    elif explain:
        raise typer.BadParameter("--explain goes with --vector or --text")


def _answers(client: Client, name: str, file: Path, k: int | None, options: dict[str, Any]) -> Iterator[Hits]:
    matrix = matrix_of(file)
    count, _ = matrix.shape
    if count > MOST_QUERIES:
        raise InvalidArgument(f"{file} has {count} rows, at most {MOST_QUERIES} are searched by one command; use the Python client")
    usual = DEFAULT_K if options["radius"] is None else DEFAULT_LIMITS.k
    step = max(1, min(_QUERIES_A_CALL, _HITS_A_CALL // max(1, usual if k is None else k)))
    for start in range(0, count, step):
        yield from client.search_many(name, matrix.read(start, min(start + step, count)), k, **options)


def _show_one(hits: Hits, as_json: bool, id_only: bool, explained: bool) -> None:
    if as_json:
        listed = [_document(hit, id_only) for hit in hits]
        output.document({"hits": listed, "explain": list(map(dataclasses.asdict, hits.explain))} if explained else listed)
    elif id_only:
        for hit in hits:
            output.line(str(hit.id))
    else:
        output.table(("rank", "id", "score", "payload"), ((at, *_row(hit)) for at, hit in enumerate(hits, 1)))
    if hits.more:
        output.note(f"{output.counted(len(hits), 'hit')} found, as many as -k allows: there may be more within the radius")
    if explained and not as_json:
        output.line("")
        output.table(*explain_table(hits.explain))


def _show_fused(hits: Hits, legs: Sequence[Dense | Text], fused: Mapping[str, Any], as_json: bool, id_only: bool, explained: bool) -> None:
    if as_json:
        listed = [hit.id if id_only else fused_document(hit) for hit in hits]
        output.document({"hits": listed, "wordless": hits.wordless, "explain": explain_document(hits.explain)} if explained else listed)
    elif id_only:
        for hit in hits:
            output.line(str(hit.id))
    else:
        grouped, first = "group_by" in fused, 1 + fused.get("offset", 0)
        names = tuple(leg.name for leg in legs)
        FusedTable(legs=names, grouped=grouped, highlighted="highlight" in fused, first=1 if grouped else first).show(hits)
    if hits.wordless:
        output.note(f"{WORDLESS}: leg {', '.join(hits.wordless)} found nothing")
    if not hits.complete:
        output.note("there may be more: only the best candidates of each leg were looked at; --candidates takes more")
    if explained and not as_json:
        show_explain(hits)


def _show_many(answers: Iterator[Hits], as_json: bool, id_only: bool) -> None:
    cut: list[int] = []
    watched = _noting_cut(answers, cut)
    if as_json:
        output.array({"query": at, "hits": [_document(hit, id_only) for hit in hits]} for at, hits in enumerate(watched))
    elif id_only:
        for hits in watched:
            output.line("\t".join(str(hit.id) for hit in hits))
    else:
        output.table(
            ("query", "rank", "id", "score", "payload"),
            ((query, at, *_row(hit)) for query, hits in enumerate(watched) for at, hit in enumerate(hits, 1)),
        )
    if cut:
        output.note(
            f"{output.counted(len(cut), 'query', 'queries')} (the first is {cut[0]}) may have more hits within the radius than -k allows"
        )


def _noting_cut(answers: Iterator[Hits], cut: list[int]) -> Iterator[Hits]:
    """Yield the same answers, and append to `cut` the number of each query for which k may have cut off hits."""
    for at, hits in enumerate(answers):
        if hits.more:
            cut.append(at)
        yield hits


def _document(hit: Hit, id_only: bool) -> Any:
    return hit.id if id_only else {"id": hit.id, "score": hit.score, "payload": hit.payload}


def _row(hit: Hit) -> tuple[Any, str, Any]:
    return hit.id, f"{hit.score:.6g}", hit.payload
