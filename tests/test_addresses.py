import subprocess
import sys

import pytest

import rate
from rate.addresses import address_of, import_address, import_module
from rate.models import MODELS, config_class, model_name
from rate.models.backbone import ModelConfig

OWN_MODEL = '''
from dataclasses import dataclass
from neighbour import HEADS
from rate.models import rate

@dataclass(frozen=True)
class Config(rate.Config):
    """Two heads from a file beside this one."""
    heads: int = HEADS
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model of the user's own, of names that no other test uses."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "neighbour.py").write_text("HEADS = 2\n")
    (tmp_path / "own" / "mine.py").write_text(OWN_MODEL)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.endswith(".py") or name in ("neighbour", "mine"):
            del sys.modules[name]


@pytest.mark.parametrize("where", [".", "own"])
def test_a_model_in_a_file_is_named_by_its_path(folder, where, monkeypatch):
    monkeypatch.chdir(folder / where)
    path = "mine.py" if where == "own" else "own/mine.py"
    config = config_class(f"{path}:Config")(width=16)
    assert isinstance(config, ModelConfig)
    assert model_name(config) == f"{path}:Config"
    assert MODELS.from_json(MODELS.to_json(config)) == config
    absolute = config_class(f"{folder / 'own' / 'mine.py'}:Config")
    assert absolute is type(config)


def test_a_model_in_a_module_of_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder / "own")
    config = config_class("mine:Config")()
    assert model_name(config) == "mine:Config"


def test_a_model_of_ones_own_is_trained_evaluated_and_loaded(folder, tiny):
    rate.collect("recall/12", "data", episodes=24)
    model = config_class("own/mine.py:Config")(segment_length=4, segments=3, width=16)
    run = rate.train(tiny(dataset="data", model=model, updates=2), "run", accelerator="cpu")
    # In another process, which learns of the model from the files of the run alone.
    for trust in (True, False):
        options = f"['recall/12'], episodes=4, workers=2, trust={trust}"
        code = f"""
import rate
if __name__ == "__main__":
    print(rate.evaluate('run', {options})[0]['episodes'])
"""
        (folder / "script.py").write_text(code)
        done = subprocess.run(
            [sys.executable, "script.py"], capture_output=True, text=True, check=False
        )
        assert (done.stdout == "4\n") is trust, done.stderr
    assert "names the code 'own/mine.py:Config', which would be run" in done.stderr
    assert rate.load_policy(run)[0].config == model


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("own/mine.py:Missing", "there is no 'Missing' in own/mine.py; it has Config"),
        ("own/nowhere.py:Config", "there is no file .*nowhere.py"),
        ("no module:Config", "names no Python code: give package.module or path/to/file.py"),
        ("json:JSONDecoder", "must name a frozen dataclass derived from"),
        ("own/broken.py:Config", "own/broken.py cannot be imported: ZeroDivisionError: division"),
    ],
)
def test_wrong_addresses_say_what_is_wrong(folder, address, message):
    (folder / "own" / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match=message):
        config_class(address)


def test_a_missing_module_is_named(folder):
    (folder / "own" / "needs.py").write_text("import module_that_is_nowhere\n")
    for where, missing in (("absent_module", "absent_module"), ("own/needs.py", "module_that")):
        with pytest.raises(ModuleNotFoundError, match=f"{where} cannot.*'{missing}"):
            import_module(where)


def test_a_class_that_cannot_be_found_again_has_no_address():
    class Local(ModelConfig):
        pass

    with pytest.raises(ValueError, match="has no address: define it at the top level"):
        model_name(Local())
    assert import_address(address_of(ModelConfig)) is ModelConfig
