"""The command `shoal collection fit`: how legs of searches are best joined, from judged queries.

The legs are read once. What is chosen from them is decided in shoal.core.fitting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from shoal.cli import output
from shoal.cli.collection import NameArgument
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.judged_queries import JudgedQueries, JudgedQuery, judged_queries, matrix_of_vectors
from shoal.cli.text_settings import defaults_in_words
from shoal.cli.vector_options import UsingOption
from shoal.client.client import Client
from shoal.client.legs import TEXT_NAME, Text
from shoal.client.progress import Pace
from shoal.client.results import Hits
from shoal.core.collection import CollectionSpec
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fit_choices import Boosts, boosts_to_read
from shoal.core.fit_outcomes import LegTerms, ReadQuery
from shoal.core.fitting import LEAST_QUERIES, MOST_QUERIES, FitRead, Fitted, fitted
from shoal.core.fused_search import DEFAULT_CANDIDATES
from shoal.core.fusion import LegHits
from shoal.core.fusion_choice import SearchDefaults, defaults_to_input
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import id_array

METRIC = "ndcg@10"

_HITS_A_CALL = 20_000
"""Hits that are asked for at once: a call takes a fraction of its timeout."""

_NO_HITS = LegHits(ids=id_array([]), scores=np.empty(0))


def fit(
    ctx: typer.Context,
    name: NameArgument,
    *,
    queries: Annotated[Path, typer.Option(metavar="FILE", help='Lines of JSON: {"id": "q1", "text": "...", "vector": [...]}.')],
    qrels: Annotated[Path, typer.Option(metavar="FILE", help="Lines with query id, point id and grade, by tabs; or TREC's four columns.")],
    using: UsingOption = None,
    candidates: Annotated[int, typer.Option(metavar="N", help="Hits that are read of each leg.")] = DEFAULT_CANDIDATES,
    metric: Annotated[str, typer.Option(help="What is to be best: ndcg@10.")] = METRIC,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the dealing of the queries into five folds.")] = 0,
    save: Annotated[bool, typer.Option("--save", help="Save the choice, if its gain is surely above 0.")] = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose fusion, weights and boosts of a collection's searches from judged queries; saves only with --save."""
    _check(metric, candidates, seed)
    judged = judged_queries(queries, qrels)
    _check_judged(judged, queries, qrels)
    with client_of(ctx, address, timeout) as client:
        spec = client.describe_collection(name).spec
        read = _read(client, spec, judged, candidates, using)
        _check_found(read, qrels)
        found = _of_vectors(fitted(read, spec.defaults, seed=seed), spec.defaults, judged.have_vectors)
        saved = save and found.may_be_saved
        if saved:
            client.alter_collection(name, search_defaults=found.choice)
    if as_json:
        document = dataclasses.asdict(found) | {"left_out": judged.left_out, "gain": found.gain, "may_be_saved": found.may_be_saved}
        document["folds"] = [dataclasses.asdict(fold) | {"choice": defaults_to_input(fold.choice)} for fold in found.folds]
        output.document({"collection": name, "metric": metric, **document, "choice": defaults_to_input(found.choice), "saved": saved})
        return
    _show(found, spec.defaults, judged)
    output.line(_verdict(name, found, save))


def _check(metric: str, candidates: int, seed: int) -> None:
    if metric != METRIC:
        raise typer.BadParameter(f"--metric is {metric!r}, this version fits {METRIC}")
    if not 1 <= candidates <= DEFAULT_LIMITS.k:
        raise typer.BadParameter(f"--candidates is {candidates}, it must be from 1 to {DEFAULT_LIMITS.k}")
    if seed < 0:
        raise typer.BadParameter(f"--seed is {seed}, it must be at least 0")


def _check_judged(judged: JudgedQueries, queries: Path, qrels: Path) -> None:
    """Raise InvalidArgument unless as many queries are judged as a fit needs, before anything is read."""
    count = len(judged.queries)
    if not LEAST_QUERIES <= count <= MOST_QUERIES:
        found = output.counted(count, "query", "queries")
        raise InvalidArgument(
            f"{found} of {queries} with a relevant point in {qrels}: {LEAST_QUERIES} to {MOST_QUERIES:,} are needed",
            ErrorDetails(field="qrels"),
        )
    if judged.unknown:
        output.note(f"{qrels} judges {output.counted(judged.unknown, 'query', 'queries')} that {queries} does not have")


def _read(client: Client, spec: CollectionSpec, judged: JudgedQueries, candidates: int, using: str | None) -> FitRead:
    if not spec.text:
        raise InvalidArgument(
            f"collection {spec.name!r} has no text field, so there is nothing to choose: add one with alter", ErrorDetails(field="name")
        )
    metric = spec.vector_of(using or "").metric if judged.have_vectors else spec.metric
    boosts = boosts_to_read([each.name for each in spec.text], spec.defaults)
    queries, pace = judged.queries, Pace()
    step = max(1, _HITS_A_CALL // candidates)
    read: list[ReadQuery] = []
    with output.progress(f"read {spec.name}", len(queries), pace) as moved:
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            dense = _dense(client, spec.name, part, candidates, using) if judged.have_vectors else [_NO_HITS] * len(part)
            texts = [_texts(client, spec.name, part, candidates, each) for each in boosts]
            read += [
                ReadQuery(dense=dense[at], texts=tuple(each[at] for each in texts), judged=query.judged) for at, query in enumerate(part)
            ]
            moved(start + len(part), len(queries))
    terms = LegTerms(candidates=candidates, smaller_is_better=metric.smaller_is_better)
    return FitRead(queries=tuple(read), boosts=boosts, terms=terms)


def _dense(client: Client, name: str, queries: tuple[JudgedQuery, ...], candidates: int, using: str | None) -> list[LegHits]:
    answers = client.search_many(name, matrix_of_vectors(queries), candidates, using=using, with_payload=False)
    return [_raw(hits, [hit.score for hit in hits]) for hits in answers]


def _texts(client: Client, name: str, queries: tuple[JudgedQuery, ...], candidates: int, boosts: Boosts) -> list[LegHits]:
    asked = [Text(query.text, fields=dict(boosts)) for query in queries]
    answers = client.search_many(name, text=asked, k=candidates, candidates=candidates, with_payload=False)
    return [_raw(hits, [hit.legs[TEXT_NAME].score for hit in hits]) for hits in answers]


def _raw(hits: Hits, scores: Sequence[float]) -> LegHits:
    return LegHits(ids=id_array([hit.id for hit in hits]), scores=np.array(scores, dtype=np.float64))


def _check_found(read: FitRead, qrels: Path) -> None:
    """Raise InvalidArgument if no leg found any relevant point: the ids may be others than those of the collection."""
    for query in read.queries:
        relevant = {point for point, grade in query.judged.items() if grade > 0}
        if any(not relevant.isdisjoint(leg.ids.tolist()) for leg in (query.dense, *query.texts)):
            return
    point = next(iter(read.queries[0].judged))
    raise InvalidArgument(
        f"no search found a relevant point: are the ids of {qrels} those of the collection? It has {point!r}; 17 is an integer, "
        'and "17", with quotes, a string',
        ErrorDetails(field="qrels"),
    )


def _of_vectors(found: Fitted, present: SearchDefaults, have_vectors: bool) -> Fitted:
    """Return what was found. Queries without vectors say nothing about fusion and weights: these stay as they are."""
    if have_vectors:
        return found
    choice = dataclasses.replace(present, boosts=found.choice.boosts)
    return dataclasses.replace(found, choice=choice, changes=choice != present)


def _show(found: Fitted, present: SearchDefaults, judged: JudgedQueries) -> None:
    legs = [("vectors alone", found.dense, ""), ("text alone", found.text, "")] if judged.have_vectors else []
    rows = [
        ("now", found.present, defaults_in_words(present)),
        *legs,
        ("chosen, on the same queries", found.on_all, defaults_in_words(found.choice)),
        ("chosen, on queries not seen", found.held_out, ""),
    ]
    output.table(("what", METRIC, "how"), [(what, f"{score:.4f}", how) for what, score, how in rows])
    left = f", {output.counted(judged.left_out, 'other')} without a relevant point" if judged.left_out else ""
    output.line("")
    output.line(f"{output.counted(found.queries, 'query', 'queries')} with a relevant point{left}")


def _verdict(name: str, found: Fitted, save: bool) -> str:
    gain = f"gain {found.gain:+.4f}, 95 % interval {found.low:+.4f} to {found.high:+.4f}"
    if not found.changes:
        return f"{gain}: nothing is better than what {name} does now"
    if not found.may_be_saved:
        return f"{gain}: it may be none, so nothing is saved"
    return f"{gain}: saved in {name}" if save else f"{gain}: --save saves it in {name}"
