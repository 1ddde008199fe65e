"""Test each event of docs/reliability.md, "What happens when", on real processes, under a load whose answers a model
judges.

Every test ends with the same checks (`assert_healed`): all replicas are in sync again by themselves and equal, nothing
acknowledged is lost, no answer was wrong, and no call failed.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

import shoal
from tests.chaos.outages import in_words
from tests.integration.failover_scene import TTL_S, Scene, scene
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.disk.small_disk import fill, small_disk
from tests.support.figures import show
from tests.support.network.private_network import why_no_network
from tests.support.scope import LONG

REPLACE_AFTER_S = 4 * TTL_S
DISK_MEGABYTES = 160
ZONES = ("east", "east", "west", "south")

Harm = Callable[[RoleCluster, int], AbstractContextManager[None]]

needs_network = pytest.mark.skipif(why_no_network() is not None, reason=str(why_no_network()))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """Mount a small disk for the data of worker 0. Yield None if this machine allows no mount."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(small_disk(tmp_path_factory.mktemp("disk"), DISK_MEGABYTES))
        except pytest.skip.Exception:
            yield None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, disk: Path | None) -> Iterator[RoleCluster]:
    private, folder = why_no_network() is None, tmp_path_factory.mktemp("failover")
    if disk is not None:
        (disk / "worker").mkdir()
        (folder / "worker-0").symlink_to(disk / "worker")
    with RoleCluster(
        folder,
        workers=len(ZONES),
        zones=ZONES,
        lease_ttl_s=TTL_S,
        private=private,
        worker_lines=not private,
        coordinator_settings={"replace_after_s": REPLACE_AFTER_S},
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def outages(request: pytest.FixtureRequest) -> Iterator[list[float]]:
    """Collect how many seconds a shard took no writes, for each failover that was measured."""
    outages: list[float] = []
    yield outages
    show(request, in_words(outages, TTL_S))


@contextmanager
def killed(cluster: RoleCluster, worker: int) -> Iterator[None]:
    cluster.workers[worker].kill()
    try:
        yield
    finally:
        cluster.workers[worker].start()


@contextmanager
def frozen(cluster: RoleCluster, worker: int) -> Iterator[None]:
    cluster.workers[worker].freeze()
    try:
        yield
    finally:
        cluster.workers[worker].thaw()


@contextmanager
def cut_off(cluster: RoleCluster, worker: int) -> Iterator[None]:
    cluster.isolate(worker)
    try:
        yield
    finally:
        cluster.mend(worker)


@contextmanager
def cut_from_etcd(cluster: RoleCluster, worker: int) -> Iterator[None]:
    cluster.cut_from_etcd(worker)
    try:
        yield
    finally:
        cluster.mend(worker)


@contextmanager
def cut_from(cluster: RoleCluster, worker: int, others: list[int]) -> Iterator[None]:
    """Cut the worker off from the others, in both directions."""
    for other in others:
        cluster.cut_from_worker(worker, other)
        cluster.cut_from_worker(other, worker)
    try:
        yield
    finally:
        for each in (worker, *others):
            cluster.mend(each)


@contextmanager
def frozen_unheard(cluster: RoleCluster, worker: int) -> Iterator[None]:
    """Freeze a worker. When it goes on, it has not yet heard from any other worker."""
    others = [other for other in range(len(cluster.workers)) if other != worker]
    with cut_from(cluster, worker, others):
        with frozen(cluster, worker):
            yield
        time.sleep(0.2)


HARMS = [killed, frozen, pytest.param(cut_off, marks=needs_network), cut_from_etcd]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_primary_is_lost_and_another_leads(cluster: RoleCluster, outages: list[float], harm: Harm) -> None:
    with scene(cluster, f"primary-{harm.__name__}") as playing:
        former, term, began = playing.primary(), playing.shard().term, time.monotonic()
        with harm(cluster, former):
            playing.await_new_primary(former)
        outages.append(playing.load.probes[playing.name, 0].gap_since(began))
        playing.assert_healed()
        assert playing.shard().term > term


@pytest.mark.parametrize("harm", [pytest.param(frozen_unheard, marks=needs_network), cut_from_etcd], ids=lambda harm: harm.__name__)
def test_who_led_before_answers_no_primary_read_with_the_past(cluster: RoleCluster, harm: Harm) -> None:
    with scene(cluster, f"past-{harm.__name__}") as playing, ExitStack() as reading:
        former, point = playing.primary(), 5_000_000
        read = reading.enter_context(playing.primary_reads_at(former, point))
        with harm(cluster, former):
            playing.await_new_primary(former)
            _fill(playing.client, playing.name, [point])
            asked = [read() for _ in range(20)]
            # The requests need some time to reach the frozen process. It finds them when it goes on.
            time.sleep(0.2)
        answered = [each.result().points.payloads for each in asked if each.exception() is None]
        assert all(len(payloads) == 1 for payloads in answered), "it answered without a write that was acknowledged before"
        playing.assert_healed()


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_backup_is_lost_the_primary_goes_on_without_and_takes_it_back(cluster: RoleCluster, harm: Harm) -> None:
    with scene(cluster, f"backup-{harm.__name__}") as playing:
        lost, *others = playing.backups()
        primary, term = playing.primary(), playing.shard().term
        with harm(cluster, lost):
            if harm is cut_from_etcd:
                # A worker without etcd still answers its primary, so it stays in sync.
                time.sleep(1.5 * TTL_S)
                assert set(playing.in_sync()) == {primary, lost, *others}
            else:
                playing.await_isr({primary, *others})
            playing.await_progress()
        playing.assert_healed()
        assert (playing.primary(), playing.shard().term) == (primary, term)


@needs_network
def test_a_primary_cut_off_from_its_backups_goes_on_with_enough_of_them_and_waits_without(cluster: RoleCluster) -> None:
    with scene(cluster, "lonely") as playing:
        primary, backups, term = playing.primary(), playing.backups(), playing.shard().term
        with cut_from(cluster, primary, backups[:1]):
            playing.await_isr({primary, *backups[1:]})
            playing.await_progress()
        playing.assert_healed()
        with cut_from(cluster, primary, backups), shoal.connect(cluster.addresses) as client:
            wait_until(lambda: _is_refused(client, playing.name), "writes are refused")
            client.get(playing.name, [1], consistency="primary", timeout=10)
        playing.assert_healed()
        assert (playing.primary(), playing.shard().term) == (primary, term)


def test_all_are_down_and_only_those_in_sync_may_lead(cluster: RoleCluster) -> None:
    with scene(cluster, "down") as playing:
        primary, (late, partner) = playing.primary(), playing.backups()
        with ExitStack() as harms:
            with killed(cluster, late):
                playing.await_isr({primary, partner})
                playing.await_progress()
                harms.enter_context(killed(cluster, primary))
                back = harms.enter_context(ExitStack())
                back.enter_context(killed(cluster, partner))
            began = time.monotonic()
            wait_until(lambda: _is_up(playing, late) and playing.shard().state == "no primary", "the late one is back")
            said = _status(cluster)
            while time.monotonic() - began < TTL_S:
                assert playing.shard().state != "ok", "a replica leads that misses acknowledged writes"
            assert all(cluster.worker_id(worker) in said for worker in (primary, partner)), said
            back.close()
            playing.await_progress()
            assert playing.primary() == partner
        playing.assert_healed()


def test_data_loss_is_accepted_only_when_everything_else_is_lost_and_is_audited(cluster: RoleCluster) -> None:
    with scene(cluster, "lossy", loaded=False) as playing:
        client, primary, (late, partner) = playing.client, playing.primary(), playing.backups()
        _fill(client, playing.name, range(100))
        with pytest.raises(shoal.PreconditionFailed, match="nothing was given up"):
            client.recover_shard(playing.name, 0, accept_data_loss=True)
        with ExitStack() as harms:
            with killed(cluster, late):
                playing.await_isr({primary, partner})
                for point in range(100, 150):
                    _fill(client, playing.name, [point])
                for worker in (primary, partner):
                    harms.enter_context(killed(cluster, worker))
            wait_until(lambda: _is_planned(playing), "the late one is to be believed")
            assert playing.shard().state != "ok"
            done = client.recover_shard(playing.name, 0, accept_data_loss=True, reason="a test", asked_by="pytest")
            assert done.done
            assert done.recovery.chosen.worker == cluster.worker_id(late)
            wait_until(lambda: playing.shard().state == "ok" and playing.primary() == late, "the late one leads")
        cluster.wait_whole(client)
        for consistency in ("primary", "session"):
            # This client's session has seen writes that are now lost.
            assert sorted(point.id for point in client.scroll(playing.name, consistency=consistency)) == list(range(100))
        _fill(client, playing.name, range(100, 200))
        playing.assert_equal()
        entry = client.audit()[0]
        assert (entry.collection, entry.reason, entry.asked_by.split()[0]) == (playing.name, "a test", "pytest")
        assert {each.worker for each in entry.recovery.given_up} == {cluster.worker_id(worker) for worker in (primary, partner)}


@pytest.mark.parametrize("role", ["backup", "primary"])
def test_a_wiped_replica_is_filled_again_under_another_id(cluster: RoleCluster, role: str) -> None:
    with scene(cluster, f"wiped-{role}") as playing:
        victim = playing.primary() if role == "primary" else playing.backups()[0]
        with killed(cluster, victim):
            shutil.rmtree(cluster.data(victim) / playing.id)
        wait_until(lambda: playing.folders()[victim] == 1, "it has a folder again")
        playing.assert_healed()


def test_a_worker_that_lost_its_whole_folder_is_replaced(cluster: RoleCluster) -> None:
    with scene(cluster, "replaced") as playing:
        victim = next(worker for worker in playing.in_sync() if worker != 0)
        was = cluster.worker_id(victim)
        with killed(cluster, victim):
            shutil.rmtree(cluster.data(victim))
        wait_until(lambda: all(was not in (*shard.isr, *shard.learners) for shard in playing.shards()), "it is replaced")
        playing.assert_healed()
        assert sum(playing.folders().values()) == 3


@pytest.mark.parametrize("role", ["backup", "primary"])
def test_a_full_disk_refuses_upserts_and_at_the_last_byte_the_others_go_on(cluster: RoleCluster, disk: Path | None, role: str) -> None:
    if disk is None:
        pytest.skip("no small disk can be mounted here, so a full one cannot be had")
    # A small disk gets little of what can lie elsewhere: with three workers, each has a replica of every shard.
    with _drained(cluster, 1), scene(cluster, f"full-{role}", shards=4) as playing:
        number = _shard_with(playing, 0, role)
        point = playing.load.herds[0].others()[number]
        ballast = disk / "ballast"
        fill(ballast, leave_bytes=(DISK_MEGABYTES << 20) // 20)
        try:
            wait_until(lambda: _why_refused(playing, point) == "disk", "upserts are refused")
            playing.client.delete(playing.name, [point])
            fill(disk / "more")
            wait_until(lambda: _left_by(playing, 0, number), "the replica that finds no room leaves")
            wait_until(lambda: _why_refused(playing, point) == "", "upserts are taken again, without it")
        finally:
            for path in (ballast, disk / "more"):
                path.unlink(missing_ok=True)
        playing.assert_healed(allowed=("ResourceExhausted",))


def test_etcd_is_gone_and_writes_and_searches_go_on(cluster: RoleCluster) -> None:
    with scene(cluster, "no-etcd") as playing, shoal.connect(cluster.addresses) as client:
        cluster.etcd.kill()
        try:
            wait_until(lambda: not _answers_primary_reads(client, playing.name), "primary reads end with the lease")
            for number in range(20):
                _fill(client, playing.name, [7_000_000 + number], timeout=5)
                assert client.search(playing.name, [float(7_000_000 + number)] * 8, k=1, timeout=5)[0].id == 7_000_000 + number
            client.delete(playing.name, range(7_000_000, 7_000_020), timeout=5)
        finally:
            cluster.etcd.start()
        wait_until(lambda: _answers_primary_reads(client, playing.name), "primary reads are back")
        playing.assert_healed()


def test_the_number_of_replicas_changes_under_load(cluster: RoleCluster) -> None:
    with scene(cluster, "altered", shards=2, replicas=1) as playing:
        for replicas in (3, 2):
            playing.client.alter_collection(playing.name, replicas=replicas)
            cluster.wait_whole(playing.client)
            playing.assert_healed()
            wait_until(lambda wanted=replicas: sum(playing.folders().values()) == 2 * wanted, "each replica has one folder")


def test_replicas_lie_in_different_zones(cluster: RoleCluster) -> None:
    with scene(cluster, "zoned", shards=8, loaded=False) as playing:
        for shard in playing.shards():
            assert sorted(ZONES[cluster.worker_of_id(worker)] for worker in shard.isr) == ["east", "south", "west"]


@pytest.mark.skipif(not LONG, reason="half a minute: make test-long; chaos kills primaries, too")
def test_primaries_are_killed_one_after_another(cluster: RoleCluster, outages: list[float]) -> None:
    with scene(cluster, "often", shards=4) as playing:
        for number in range(3):
            former, terms, began = playing.primary(number), [shard.term for shard in playing.shards()], time.monotonic()
            with killed(cluster, former):
                playing.await_new_primary(former, number)
            led_anew = [shard.shard for shard in playing.shards() if shard.term > terms[shard.shard]]
            assert number in led_anew
            outages += [playing.load.probes[playing.name, each].gap_since(began) for each in led_anew]
            cluster.wait_whole(playing.client)
        playing.assert_healed()
    assert len(outages) >= 6


def _fill(client: shoal.Client, name: str, ids: range | list[int], timeout: float = 30.0) -> None:
    client.upsert(name, ids, [[float(point)] * 8 for point in ids], [{"point": point, "version": 1} for point in ids], timeout=timeout)


def _is_refused(client: shoal.Client, name: str) -> bool:
    try:
        client.delete(name, [9_000_000], timeout=1)
    except (shoal.Unavailable, shoal.DeadlineExceeded):
        return True
    return False


def _is_up(playing: Scene, worker: int) -> bool:
    wanted = playing.cluster.worker_id(worker)
    return any(each.id == wanted and each.state == "up" for each in playing.client.cluster().workers)


def _status(cluster: RoleCluster) -> str:
    command = [str(Path(sys.executable).parent / "shoal"), "--address", cluster.address, "status"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def _is_planned(playing: Scene) -> bool:
    try:
        return not playing.client.recover_shard(playing.name, 0).done
    except (shoal.PreconditionFailed, shoal.Unavailable):
        return False


@contextlib.contextmanager
def _drained(cluster: RoleCluster, worker: int) -> Iterator[None]:
    """Place nothing on a worker in the context."""
    with shoal.connect(cluster.addresses, timeout=30) as client:
        client.workers.drain(cluster.worker_id(worker))
        yield
        client.workers.undrain(cluster.worker_id(worker))


def _shard_with(playing: Scene, worker: int, role: str) -> int:
    """Return a shard whose primary, or one of whose backups, is on the worker."""
    if role == "primary":
        return next(shard.shard for shard in playing.shards() if playing.primary(shard.shard) == worker)
    return next(shard.shard for shard in playing.shards() if worker in playing.backups(shard.shard))


def _why_refused(playing: Scene, point: int) -> str:
    """Return the limit that refuses an upsert of a point, "" if it is taken."""
    try:
        _fill(playing.client, playing.name, [point], timeout=5)
    except shoal.ResourceExhausted as error:
        return str(error.details.limit)
    except (shoal.Unavailable, shoal.DeadlineExceeded) as error:
        return type(error).__name__
    return ""


def _left_by(playing: Scene, worker: int, number: int) -> bool:
    """Return whether a worker is out of a shard's isr. First writes something for which its log needs a new block."""
    with contextlib.suppress(shoal.ShoalError):
        playing.client.delete(playing.name, range(10_000_000, 10_002_000), timeout=2)
    return worker not in playing.in_sync(number)


def _answers_primary_reads(client: shoal.Client, name: str) -> bool:
    try:
        client.get(name, [1], consistency="primary", timeout=1)
    except (shoal.Unavailable, shoal.DeadlineExceeded):
        return False
    return True
