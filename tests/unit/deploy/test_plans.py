from __future__ import annotations

from pathlib import Path

import pytest

from shoal.core.errors import InvalidArgument
from shoal.deploy.folder import ClusterFolder
from shoal.deploy.plans import CombinedPlan, CoordinatorPlan, ProcessPlan, WorkerPlan, on_node, process_plans, stop_groups
from shoal.deploy.settings import LocalSettings
from shoal.runtime.role_settings import ANY_PORT

FOLDER = ClusterFolder(root=Path("/somewhere"))
ETCD = ("127.0.0.1:1234",)


def plans_of(settings: LocalSettings, workers: int) -> tuple[ProcessPlan, ...]:
    return process_plans(settings, FOLDER, ETCD, workers)


def test_one_worker_shares_its_process_with_the_router() -> None:
    coordinator, combined = plans_of(LocalSettings(port=7000), 1)
    assert isinstance(coordinator.role, CoordinatorPlan)
    assert isinstance(combined.role, CombinedPlan)
    assert combined.role.router.port == 7000
    assert combined.role.worker.data == "/somewhere/workers/1"
    assert combined.role.worker.etcd == combined.role.router.etcd == coordinator.role.coordinator.etcd == ETCD


def test_further_workers_have_processes_folders_and_labels_of_their_own() -> None:
    _, *workers = plans_of(LocalSettings(), 3)
    assert [plan.name for plan in workers] == ["worker-1", "worker-2", "worker-3"]
    assert [plan.label for plan in workers] == ["shoal-worker-1", "shoal-worker-2", "shoal-worker-3"]
    assert [type(plan.role) for plan in workers] == [CombinedPlan, WorkerPlan, WorkerPlan]
    assert len({plan.role.worker.data for plan in workers if not isinstance(plan.role, CoordinatorPlan)}) == 3


def test_only_the_public_port_leaves_loopback_on_a_ray_of_our_own() -> None:
    _, combined = plans_of(LocalSettings(host="0.0.0.0", insecure=True), 1)
    assert isinstance(combined.role, CombinedPlan)
    assert combined.role.router.host == "0.0.0.0"
    assert combined.role.worker.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("given", "port"), [({}, 7680), ({"port": 9000}, 9080), ({"http_port": 0}, 0), ({"http_port": ANY_PORT}, ANY_PORT)]
)
def test_the_http_port_of_the_router_lies_beside_its_port_unless_it_is_given(given: dict[str, int], port: int) -> None:
    settings = LocalSettings(**given)  # type: ignore[arg-type]
    _, combined = plans_of(settings, 1)
    assert isinstance(combined.role, CombinedPlan)
    assert combined.role.router.http_port == settings.router_http_port == port
    assert combined.role.worker.http_port == ANY_PORT


def test_the_router_asks_for_keys_where_the_cluster_does() -> None:
    _, combined = plans_of(LocalSettings(keys=True, admin_key_file="key"), 1)
    assert isinstance(combined.role, CombinedPlan)
    assert (combined.role.router.keys, combined.role.router.admin_key_file) == (True, "key")


@pytest.mark.parametrize("given", [{"keys": True}, {"admin_key_file": "key"}])
def test_keys_need_the_key_of_the_one_that_starts_the_cluster(given: dict[str, bool]) -> None:
    with pytest.raises(InvalidArgument, match="admin_key_file"):
        LocalSettings(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"http_port": -3}, {"http_port": 7600}, {"port": 65_500}])
def test_an_http_port_that_cannot_be_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument, match="http_port"):
        LocalSettings(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_host_is_kept_without_brackets(host: str) -> None:
    _, combined = plans_of(LocalSettings(host=host), 1)
    assert isinstance(combined.role, CombinedPlan)
    assert combined.role.router.host == "::1"


@pytest.mark.parametrize("host", ["", "127.0.0.1:7600", "tcp://h"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidArgument, match="host is"):
        LocalSettings(host=host)


def test_what_roles_share_is_passed_to_all_of_them() -> None:
    given = {"etcd_ca": "ca", "etcd_cert": "c", "etcd_key": "k", "etcd_user": "u", "etcd_password_file": "p"}
    given |= {"tls_ca": "tca", "tls_cert": "tc", "tls_key": "tk"}
    settings = LocalSettings(etcd=ETCD, cluster_name="mine", message_bytes=1234, log_level="DEBUG", **given)
    roles = []
    for plan in plans_of(settings, 2):
        match plan.role:
            case CoordinatorPlan(coordinator=coordinator):
                roles.append(coordinator)
            case WorkerPlan(worker=worker):
                roles.append(worker)
            case CombinedPlan(worker=worker, router=router):
                roles += [worker, router]
    assert len(roles) == 4
    for role in roles:
        assert {name: getattr(role, name) for name in given} == given
        assert (role.etcd, role.cluster_name, role.message_bytes, role.log_level) == (ETCD, "mine", 1234, "DEBUG")


@pytest.mark.parametrize(("first", "ports"), [(0, [0, 0, 0]), (-1, [-1, -1, -1]), (9600, [9600, 9601, 9602])])
def test_each_process_has_one_metrics_port(first: int, ports: list[int]) -> None:
    coordinator, combined, worker = plans_of(LocalSettings(metrics_port=first), 2)
    assert isinstance(coordinator.role, CoordinatorPlan)
    assert isinstance(combined.role, CombinedPlan)
    assert isinstance(worker.role, WorkerPlan)
    assert [each.metrics_port for each in (coordinator.role.coordinator, combined.role.worker, worker.role.worker)] == ports
    assert combined.role.router.metrics_port == 0


def test_only_the_router_is_reflected() -> None:
    _, combined = plans_of(LocalSettings(reflection=True), 1)
    assert isinstance(combined.role, CombinedPlan)
    assert (combined.role.router.reflection, combined.role.worker.reflection) == (True, False)


def test_on_a_given_ray_every_role_listens_on_its_node() -> None:
    settings = LocalSettings(host="node", ray_address="ray:6379", etcd=ETCD, insecure=True)
    hosts = set()
    for plan in (on_node(plan, "10.0.0.7") for plan in plans_of(settings, 2)):
        match plan.role:
            case CoordinatorPlan(coordinator=coordinator):
                hosts.add(coordinator.host)
            case WorkerPlan(worker=worker):
                hosts.add(worker.host)
            case CombinedPlan(worker=worker, router=router):
                hosts |= {worker.host, router.host}
    assert hosts == {"10.0.0.7"}


def test_the_coordinator_stops_first_and_all_workers_at_once_so_that_nobody_leaves_an_isr() -> None:
    assert stop_groups(plans_of(LocalSettings(), 3)) == [["coordinator"], ["worker-1", "worker-2", "worker-3"]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"port": 0}, "port is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"ray_address": "x:1"}, "--ray-address needs --etcd"),
        ({"host": "node"}, "only with --ray-address"),
        ({"log_level": "LOUD"}, "log_level is 'LOUD'"),
        ({"message_bytes": 0}, "message_bytes is 0"),
        ({"metrics_port": -2}, "metrics_port is -2"),
        ({"metrics_port": 65_500, "workers": 64}, "metrics_port is 65500"),
        ({"memory_percent": 0.0}, "memory_percent is 0.0, it must be above 0 and at most 100"),
        ({"memory_percent": 100.1}, "memory_percent is 100.1"),
        ({"memory_percent": float("nan")}, "memory_percent is nan"),
        ({"etcd_ca": "ca"}, "give --etcd too"),
        ({"host": "0.0.0.0"}, "beyond loopback"),
        ({"host": "node", "ray_address": "r:1", "etcd": ETCD}, "beyond loopback"),
        ({"tls_client_required": True}, "tls_client_required is true"),
    ],
)
def test_impossible_settings_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        LocalSettings(**given)  # type: ignore[arg-type]


def test_where_indexes_are_built_is_passed_to_every_worker() -> None:
    _, *workers = plans_of(LocalSettings(builds="ray", ray_address="ray:6379", etcd=ETCD), 2)
    assert [plan.role.worker.builds for plan in workers if not isinstance(plan.role, CoordinatorPlan)] == ["ray", "ray"]
    with pytest.raises(InvalidArgument, match="builds is 'ray', which needs --ray-address"):
        LocalSettings(builds="ray")
    with pytest.raises(InvalidArgument, match="builds is 'there', it must be one of here, ray"):
        LocalSettings(builds="there")


def test_workers_of_one_machine_share_its_memory_and_those_of_a_given_ray_do_not() -> None:
    own = process_plans(LocalSettings(workers=3), FOLDER, ("127.0.0.1:1",), 3)
    given = process_plans(LocalSettings(workers=3, ray_address="ray", etcd=("e:1",)), FOLDER, ("e:1",), 3)
    assert [plan.role.worker.memory_percent for plan in own[1:]] == [25.0] * 3
    assert [plan.role.worker.memory_percent for plan in given[1:]] == [75.0] * 3
    fixed = process_plans(LocalSettings(memory_budget_bytes=1 << 30), FOLDER, ("127.0.0.1:1",), 1)
    assert fixed[1].role.worker.memory_budget_bytes == 1 << 30


def test_the_part_of_the_memory_is_a_setting_that_workers_of_our_own_ray_divide() -> None:
    own = process_plans(LocalSettings(workers=2, memory_percent=50.0), FOLDER, ("127.0.0.1:1",), 2)
    given = process_plans(LocalSettings(workers=2, memory_percent=30.0, ray_address="ray", etcd=("e:1",)), FOLDER, ("e:1",), 2)
    assert [plan.role.worker.memory_percent for plan in own[1:]] == [25.0] * 2
    assert [plan.role.worker.memory_percent for plan in given[1:]] == [30.0] * 2
