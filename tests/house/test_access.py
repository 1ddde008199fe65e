"""The table of access has every public RPC, with fields that exist, and no internal one."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from shoal.core.access import INTERNAL_SERVICES, RULES, InAnswer, InRequest, Rule, WholeCluster
from shoal.router.server import SERVICES
from shoal.wire import services
from tests.support.repository import ROOT

DESCRIBED = {each.full_name: each for each in vars(services).values() if isinstance(each, ServiceDescriptor)}


def field_at(message: Descriptor, path: str) -> FieldDescriptor:
    """The field at a path. Raises KeyError if there is none."""
    first, _, rest = path.partition(".")
    field = message.fields_by_name[first]
    return field_at(field.message_type, rest) if rest else field


def check(method: MethodDescriptor, rule: Rule) -> None:
    """Fail if the rule names fields that the messages of the method do not have."""
    match rule.place:
        case InRequest(path):
            assert field_at(method.input_type, path).type == FieldDescriptor.TYPE_STRING
        case InAnswer(items, path):
            assert method.output_type.fields_by_name[items].is_repeated
            assert field_at(method.output_type.fields_by_name[items].message_type, path).type == FieldDescriptor.TYPE_STRING
        case WholeCluster():
            pass


def test_every_service_of_a_proto_file_is_public_or_internal() -> None:
    described = {
        f"shoal.v1.{line.split()[1]}"
        for file in (ROOT / "proto/shoal/v1").glob("*.proto")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("service ")
    }
    assert described == set(DESCRIBED) == set(SERVICES) | INTERNAL_SERVICES
    assert not set(SERVICES) & INTERNAL_SERVICES


def test_every_public_rpc_has_a_rule_whose_fields_exist() -> None:
    methods = {f"/{name}/{each.name}": each for name in SERVICES for each in DESCRIBED[name].methods}
    assert set(RULES) == set(methods)
    for path, method in methods.items():
        check(method, RULES[path])


def test_a_request_that_names_a_collection_has_a_rule_about_it() -> None:
    """A field named collection, or a name in the service of collections, is what the rule looks at."""
    for name in SERVICES:
        for method in DESCRIBED[name].methods:
            rule = RULES[f"/{name}/{method.name}"]
            named = "collection" in method.input_type.fields_by_name
            assert not named or rule.place == InRequest("collection"), method.full_name


def test_no_public_rpc_streams() -> None:
    """Calls are admitted where unary calls are served."""
    assert [each.full_name for name in SERVICES for each in DESCRIBED[name].methods if each.client_streaming or each.server_streaming] == []
