from dataclasses import dataclass

import pytest

from shoal.core.errors import InvalidArgument
from shoal.runtime.settings import flags_of, load_settings, setting


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


def test_flags_of_settings_load_them_again():
    wanted = Sample(name="x y", count=9, loud=True, places=("one",))
    assert load(*flags_of(wanted)) == wanted


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
