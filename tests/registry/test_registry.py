import shutil
import threading

import pytest

from components import history, mlflow_store, registry
from components.errors import GateRefused, IntegrityError, UsageError
from components.registry import fetching
from components.steps.register import RegisterConfig, register
from tests.registry.variants import a_prepared, a_variant


@pytest.fixture
def data(tmp_path):
    return a_prepared(tmp_path)


def registered(tmp_path, data, seed=0, name="reviews", **changes):
    variant = a_variant(tmp_path / f"v{seed}", seed=seed, shift=seed / 10, **changes)
    return register((variant,), variant.exported, RegisterConfig(name=name), data=data)


def events(name="reviews"):
    return [(event.event, event.version, event.previous) for event in history.history(name)]


def test_a_registered_version_comes_back_as_it_was(tmp_path, data, home):
    made = registered(tmp_path, data)
    assert made.version == 1
    shutil.rmtree(home / "bundles")
    kept = fetching.fetch("reviews", 1)
    assert kept.digest == made.bundle
    assert kept.folder == home / "bundles" / made.bundle


def test_registering_the_same_again_is_the_same_version(tmp_path, data):
    first = registered(tmp_path, data)
    again = registered(tmp_path, data)
    other = registered(tmp_path, data, seed=1)
    assert again == first
    assert (again.version, other.version) == (1, 2)
    assert len(registry.versions("reviews")) == 2
    assert events() == [("registered", 1, None), ("registered", 2, None)]


def test_registering_at_once_makes_one_version(tmp_path, data):
    variant = a_variant(tmp_path / "v")
    results: list[int] = []

    def work():
        made = register((variant,), variant.exported, RegisterConfig(name="reviews"), data=data)
        results.append(made.version)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1, 1, 1]
    assert len(registry.versions("reviews")) == 1


def test_a_kill_between_the_logged_model_and_the_version_leaves_nothing_double(
    tmp_path, data, monkeypatch
):
    from mlflow import MlflowClient

    real = MlflowClient.create_model_version

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "create_model_version", killed)
    with pytest.raises(KeyboardInterrupt):
        registered(tmp_path, data)
    assert registry.versions("reviews") == ()
    monkeypatch.setattr(MlflowClient, "create_model_version", real)
    assert registered(tmp_path, data).version == 1
    assert len(registry.versions("reviews")) == 1


def test_a_graph_without_parity_is_not_registered(tmp_path, data):
    with pytest.raises(GateRefused, match=r"fp32 agrees .* on 99.00% of 100 rows, 99.90%"):
        registered(tmp_path, data, agreement=0.99)
    assert registry.versions("reviews") == ()
    chain = ({"kind": "int8_dynamic"},)
    assert registered(tmp_path, data, name="ok", agreement=0.99, chain=chain).version == 1


def test_a_damaged_copy_in_the_registry_is_found(tmp_path, data, home):
    made = registered(tmp_path, data)
    shutil.rmtree(home / "bundles")
    [model] = (home / "mlflow" / "artifacts").rglob("bundle/model.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        fetching.fetch("reviews", made.version)
    assert not (home / "bundles" / made.bundle).exists()


def test_an_empty_registry_says_so():
    with pytest.raises(UsageError, match="none is registered yet"):
        registry.resolve("reviews")


def test_a_version_of_somebody_else_is_not_opened(tmp_path, store):
    client = mlflow_store.client(store)
    client.create_registered_model("foreign")
    client.create_model_version("foreign", source=str(tmp_path), run_id=None)
    with pytest.raises(IntegrityError, match="was not registered by Athanor"):
        fetching.fetch("foreign", 1)
