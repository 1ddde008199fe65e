from dataclasses import dataclass

import pytest

from shoal.core.errors import InvalidArgument
from shoal.runtime.settings import load_settings, setting


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample."""

    name: str = setting("default", "a name")
    count: int = setting(3, "a count")
    share: float = setting(0.5, "a share, 50 % by default")
    loud: bool = setting(False, "whether it is loud")
    places: tuple[str, ...] = setting(("a", "b"), "places")
    folder: str = setting("here", "a folder", variable="SAMPLE_FOLDER")


def load(*arguments: str, **environment: str) -> Sample:
    return load_settings(Sample, program="sample", arguments=arguments, environment=environment)


def test_defaults():
    assert load() == Sample()


def test_flags_win_over_environment_and_environment_over_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('name = "file"\ncount = 7\nshare = 1\nplaces = ["x"]\n')
    loaded = load("--config", str(file), "--name=flag", SHOAL_NAME="environment", SHOAL_COUNT="8")
    assert loaded == Sample(name="flag", count=8, share=1.0, places=("x",))
    assert load(SHOAL_CONFIG=str(file)).name == "file"


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_bytes(b'\xef\xbb\xbfname = "file"\n')
    assert load("--config", str(file)).name == "file"


def test_every_type_by_flag_and_by_environment():
    wanted = Sample(name="n", count=1, share=0.25, loud=True, places=("p", "q"), folder="f")
    assert load("--name=n", "--count=1", "--share=0.25", "--loud=yes", "--places=p, q", "--folder=f") == wanted
    environment = {"SHOAL_NAME": "n", "SHOAL_COUNT": "1", "SHOAL_SHARE": "0.25", "SHOAL_LOUD": "1", "SHOAL_PLACES": "p,q"}
    assert load(**environment, SAMPLE_FOLDER="f") == wanted
    assert load(SHOAL_FOLDER="ignored") == Sample()


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--count=many"], {}, "--count is 'many'"),
        ([], {"SHOAL_SHARE": "half"}, "SHOAL_SHARE is 'half'"),
        ([], {"SHOAL_LOUD": "perhaps"}, "SHOAL_LOUD is 'perhaps'"),
        (["--config=/nowhere/at-all.toml"], {}, "No such file"),
    ],
)
def test_wrong_values_are_named(arguments, environment, named):
    with pytest.raises(InvalidArgument, match=named):
        load(*arguments, **environment)


@pytest.mark.parametrize(
    ("text", "named"),
    [("colour = 1", "unknown key 'colour'"), ("count = '7'", "count is '7'"), ("count = true", "count is True"), ("= 1", "is not TOML")],
)
def test_wrong_files_are_named(tmp_path, text, named):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=named):
        load("--config", str(file))


def test_unknown_flags_end_the_program_and_help_tells_defaults(capsys):
    with pytest.raises(SystemExit) as caught:
        load("--colour=red")
    assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        load("--help")
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "a count (default 3, SHOAL_COUNT)" in shown
    assert "a folder (default 'here', SAMPLE_FOLDER)" in shown


LINKS = {"SHOAL_PORT": "tcp://10.96.0.12:7600", "SHOAL_SERVICE_HOST": "10.96.0.12", "SHOAL_SERVICE_PORT": "7600"}
"""Variables that Kubernetes sets in a pod beside a service named shoal. For a service named shoal-metrics it does the
same.
"""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Settings whose environment variables Kubernetes may also set."""

    port: int = setting(7600, "a port")
    metrics_port: int = setting(0, "another port")
    host: str = setting("here", "a host")


def load_ports(*arguments, **environment):
    warnings = []
    loaded = load_settings(Ports, program="ports", arguments=arguments, environment=environment, warn=warnings.append)
    return loaded, warnings


@pytest.mark.parametrize("value", ["tcp://10.96.0.12:7600", "udp://10.96.0.12:53", "TCP://[fd00::c]:7600", "sctp://h:1"])
def test_what_kubernetes_sets_is_ignored_with_a_warning(value):
    loaded, warnings = load_ports(SHOAL_PORT=value, SHOAL_METRICS_PORT=value)
    assert loaded == Ports()
    assert warnings == [
        f"SHOAL_METRICS_PORT is {value!r}, which Kubernetes sets for a service named 'shoal-metrics': it is ignored",
        f"SHOAL_PORT is {value!r}, which Kubernetes sets for a service named 'shoal': it is ignored",
    ]


def test_a_variable_that_is_ignored_leaves_the_file_its_word(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("port = 1234\n")
    loaded, warnings = load_ports("--config", str(file), **LINKS)
    assert (loaded.port, len(warnings)) == (1234, 1)


@pytest.mark.parametrize("value", ["tcp://10.96.0.12:7600", "many", ""])
def test_a_flag_wins_over_a_variable_whatever_it_holds(value):
    assert load_ports("--port=17", SHOAL_PORT=value) == (Ports(port=17), [])


@pytest.mark.parametrize("value", ["tcp://", "tcp://10.96.0.12", "http://10.96.0.12:7600", "tcp://10.96.0.12:7600 ", "7600x"])
def test_what_kubernetes_would_not_write_is_still_an_error(value):
    with pytest.raises(InvalidArgument, match="SHOAL_PORT is"):
        load_ports(SHOAL_PORT=value)


def test_only_the_name_of_a_port_is_ignored():
    assert load_ports(SHOAL_HOST="tcp://10.96.0.12:7600")[0].host == "tcp://10.96.0.12:7600"
    with pytest.raises(InvalidArgument, match="SHOAL_COUNT is"):
        load(SHOAL_COUNT="tcp://10.96.0.12:7600")


def test_the_warning_is_a_line_of_stderr(capsys):
    load_settings(Ports, program="ports", arguments=[], environment=LINKS)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("warning: SHOAL_PORT is")
    assert shown.err.count("\n") == 1
