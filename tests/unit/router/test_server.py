from __future__ import annotations

from google.protobuf import descriptor_pool

from shoal.router.server import SERVICES, public_calls
from shoal.router.settings import RouterSettings
from tests.twins.cluster import TwinCluster


def test_reflection_can_describe_every_public_service_and_no_internal_one() -> None:
    pool = descriptor_pool.Default()  # type: ignore[no-untyped-call]
    assert [pool.FindServiceByName(name).full_name for name in SERVICES] == list(SERVICES)
    assert not {"shoal.v1.Worker", "shoal.v1.Coordinator"} & set(SERVICES)


def test_searches_have_a_short_way_in_every_router() -> None:
    calls = public_calls(TwinCluster().router, RouterSettings())
    assert [call.path for call in calls if call.at_once is not None] == ["/shoal.v1.Search/Search"]
