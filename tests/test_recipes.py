"""Settings to estimators and back; flags over TOML."""

import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise import LBFGS, Adam, Autoencoder, AutoencoderOutlierDetector, KLSparsity, Masking, StackedRegressor
from layerwise.activations import ACTIVATIONS
from layerwise.cli.recipe_flags import overlay
from layerwise.recipes import build, default_layers, describe, read_toml, write_toml

shares = st.floats(0.01, 0.99)
parts = {
    "sparsity": st.sampled_from(["kl", "l1"]) | st.builds(lambda t: {"name": "kl", "target": t, "weight": 2.0}, shares),
    "corruption": st.sampled_from(["masking", "gaussian"])
    | st.builds(lambda t: {"name": "salt_and_pepper", "level": t}, shares),
    "solver": st.sampled_from(["lbfgs", "adam", "sgd"])
    | st.builds(lambda n: {"name": "adam", "max_iter": n, "batch_size": n + 1}, st.integers(1, 99)),
    "early_stopping": st.builds(lambda t: {"validation_fraction": t, "patience": 3}, shares),
}
layers = st.fixed_dictionaries(
    {"n_hidden": st.integers(1, 300)},
    optional={
        "activation": st.sampled_from(sorted(ACTIVATIONS))
        | st.builds(lambda k: {"name": "top_k", "k": k}, st.integers(1, 9)),
        "tied": st.booleans(),
        "alpha": st.floats(0, 1),
        "scale": st.sampled_from(["none", "auto", "standard"]),
        **parts,
    },
)
recipes = st.fixed_dictionaries(
    {"layers": st.lists(layers, min_size=1, max_size=3)},
    optional={
        "model": st.sampled_from(["autoencoder", "classifier", "regressor", "outliers"]),
        "random_state": st.integers(0, 9),
        "dtype": st.sampled_from(["float32", "float64"]),
        "finetuning": st.fixed_dictionaries({}, optional={"alpha": st.floats(0, 1), "solver": parts["solver"]}),
    },
)


@settings(max_examples=40, deadline=None)
@given(recipes)
def test_toml_says_all(recipe):
    """What `write_toml` writes builds the same estimator, parameter by parameter."""
    estimator = build(recipe)
    written = tomllib.loads(write_toml(describe(estimator) | {"data": 'a"b.csv', "out": "runs/ä"}))
    assert (written.pop("data"), written.pop("out")) == ('a"b.csv', "runs/ä")
    assert describe(build(written)) == describe(estimator)


def test_parts_and_their_parameters():
    stack = build(
        {
            "layers": [
                {"n_hidden": 9, "activation": "tanh", "sparsity": {"name": "kl", "target": 0.2}},
                {"n_hidden": 4, "corruption": {"name": "masking", "emphasis": [1, 0.5]}, "solver": "adam"},
            ]
        }
    )
    first, second = stack.layers
    assert first.sparsity.get_params() == KLSparsity(target=0.2).get_params()
    assert second.output_activation == "tanh"  # it reconstructs codes of the first
    assert second.corruption.get_params() == Masking(emphasis=(1, 0.5)).get_params()
    assert isinstance(second.solver, Adam)
    assert first.alpha == Autoencoder().alpha


def test_outliers_without_layers_are_the_detectors_own():
    own = AutoencoderOutlierDetector()._default_autoencoder().set_params(dtype="float32")
    assert repr(build({"model": "outliers"}).autoencoder) == repr(own)
    own = AutoencoderOutlierDetector()._default_autoencoder()
    same = build({"model": "outliers", "layers": default_layers("outliers")}).autoencoder.layers[0]
    different = {name for name, value in own.get_params(deep=False).items() if getattr(same, name) != value}
    assert different == {"callbacks", "solver"}  # its callback ends after the iterations that settings have as a limit
    assert same.solver.get_params() == LBFGS(max_iter=30, history_size=5).get_params()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"model": "forest"}, "model='forest' is not known; choose one of autoencoder, classifier"),
        ({"layers": [{"n_hiden": 3}]}, r"layers\[0\] has 'n_hiden', which means nothing there; known are activation"),
        ({"layers": [3]}, r"layers\[0\]=3 must be a table"),
        ({"layers": [{"solver": "newton"}]}, "solver has name='newton', which is not known; choose one of lbfgs"),
        ({"layers": [{"solver": {"batch_size": 3}}]}, "solver has name=None"),
        (
            {"layers": [{"solver": {"name": "lbfgs", "batch_size": 3}}]},
            "batch_size=3 has no meaning with solver='lbfgs'; choose solver sgd or adam",
        ),
        (
            {"layers": [{"sparsity": {"name": "kl", "rate": 3}}]},
            "rate=3 has no meaning with sparsity='kl'; it has target, weight",
        ),
        (
            {"layers": [{"activation": "relux"}]},
            "activation has name='relux', which is not known; choose one of sigmoid, .*, top_k",
        ),
        ({"layers": [{"activation": "top_k"}]}, "activation='top_k' needs k, which is not given"),
        (
            {"layers": [{"activation": {"name": "relu", "k": 3}}]},
            "k=3 has no meaning with activation='relu'; choose activation top_k",
        ),
        (
            {"layers": [{"activation": {"name": "relu", "slope": 3}}]},
            "slope=3 has no meaning with activation='relu'; it has no parameters",
        ),
        ({"layers": [{"early_stopping": 5}]}, "early_stopping=5 must be a table"),
        ({"layers": [{"solver": 5}]}, "solver=5 must be a table of names and values, or the name of one: lbfgs"),
        ({"layers": [{"n_hidden": True}]}, "n_hidden=true must not be"),
        ({"layers": [{"alpha": 10**23}]}, "is too large"),
        ({"finetuning": {"depth": 1}}, "finetuning has 'depth'"),
        ({"model": "classifier", "finetuning": {"untie": True}}, "finetuning has 'untie'"),
        ({"contamination": 0.2}, "contamination=0.2 has no meaning with model='autoencoder'"),
    ],
)
def test_refusals(recipe, message):
    with pytest.raises(ValueError, match=message):
        build(recipe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers = 3", r"layers=3 must be a list of tables, \[\[layers\]\]"),
        ("layers = [3]", "layers holds 3, but tables"),
        ("id = 3", "id=3 must be a list of names of columns"),
        ("id = [3]", "id holds 3, but names of columns"),
        ("image_shape = [[1]]", r"image_shape holds \[1\], but whole numbers"),
        ('impute = "false"', "impute='false' must be true or false"),
        ("random_state = true", "random_state=True must be a whole number"),
        ("data = 3", "data=3 must be a text in quotes"),
        ("[layers]\nn_hidden = 3", "must be a list of tables"),
        ("finetuning = 1", "finetuning=1 must be a table"),
        ("colour = 1", "has 'colour', which means nothing there; known are array, contamination"),
        ("layers = ", "is no TOML file"),
        ("a = '\x00'", "is no TOML file"),
    ],
)
def test_toml_refusals(tmp_path, text, message):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_toml(tmp_path / "run.toml")


def test_flags_win_in_every_layer():
    toml = {
        "random_state": 1,
        "layers": [
            {"n_hidden": 9, "alpha": 0.5, "solver": {"name": "adam", "max_iter": 7, "batch_size": 3}},
            {"n_hidden": 5, "sparsity": {"name": "kl", "target": 0.3}},
        ],
        "finetuning": {"alpha": 0.25},
    }
    flags = {"alpha": 0.1, "max_iter": 4, "sparsity_weight": 2.0, "corruption": "masking", "random_state": 2}
    with pytest.raises(ValueError, match="sparsity_weight=2 has no meaning without sparsity; choose one with --spars"):
        overlay(toml, flags)
    settings = overlay(toml, flags | {"sparsity": "kl"})
    first, second = settings["layers"]
    assert settings["random_state"] == 2
    assert first == {
        "n_hidden": 9,
        "alpha": 0.1,
        "solver": {"name": "adam", "max_iter": 4, "batch_size": 3},
        "sparsity": {"name": "kl", "weight": 2.0},
        "corruption": {"name": "masking", "level": 0.25},
    }
    assert second["sparsity"] == {"name": "kl", "target": 0.3, "weight": 2.0}
    assert second["solver"] == {"name": "lbfgs", "max_iter": 4}
    assert settings["finetuning"] == {"alpha": 0.25, "solver": {"name": "lbfgs", "max_iter": 4}}
    assert toml["layers"][0]["alpha"] == 0.5  # what came in is as it was


def test_another_solver_forgets_the_parameters_of_the_first():
    toml = {"layers": [{"n_hidden": 3, "solver": {"name": "adam", "batch_size": 3}}]}
    assert overlay(toml, {"solver": "lbfgs"})["layers"][0]["solver"] == {"name": "lbfgs"}


def test_widths_repeat_the_last_recipe():
    toml = {"layers": [{"n_hidden": 9, "alpha": 1}, {"n_hidden": 5, "alpha": 2}]}
    assert [tuple(layer.values()) for layer in overlay(toml, {"layers": [7, 6, 5]})["layers"]] == [
        (7, 1),
        (6, 2),
        (5, 2),
    ]
    assert overlay({}, {"layers": [7]})["layers"] == [default_layers("autoencoder")[0] | {"n_hidden": 7}]
    assert overlay({"model": "outliers"}, {"layers": [7]})["layers"][0]["activation"] == "tanh"


def test_no_flags_change_nothing():
    assert overlay({"model": "outliers"}, {}) == {"model": "outliers"}
    assert overlay({"model": "classifier"}, {"finetune": "2"})["finetuning"] == {"finetune": 2}


def test_codes_of_a_narrow_table_are_narrower():
    assert [layer["n_hidden"] for layer in overlay({}, {}, 13)["layers"]] == [13, 7]
    assert [layer["n_hidden"] for layer in overlay({}, {}, 784)["layers"]] == [200, 200]
    assert "layers" not in overlay({"model": "classifier"}, {}, 13)


def test_part_is_switched_off():
    toml = {"layers": [{"n_hidden": 3, "sparsity": "kl", "corruption": "masking"}]}
    estimator = build(overlay(toml, {"sparsity": "none", "corruption": "none"}))
    assert estimator.layers[0].sparsity is None
    assert estimator.layers[0].corruption is None


def test_level_of_gaussian_noise_is_its_deviation():
    flags = {"corruption": "gaussian", "corruption_level": 0.1}
    assert build(overlay({}, flags)).layers[0].corruption.std == 0.1
    assert build(overlay({}, {"corruption": "gaussian"})).layers[0].corruption.std == 0.25
    toml = {"layers": [{"corruption": {"name": "gaussian", "std": 0.3}}]}
    assert build(overlay(toml, {"corruption_level": 0.2})).layers[0].corruption.std == 0.2


def test_top_k():
    stack = build(overlay({"layers": [{"n_hidden": 9}, {"n_hidden": 5}]}, {"activation_k": 4}))
    assert [layer.activation.k for layer in stack.layers] == [4, 4]
    assert stack.layers[1].output_activation == "relu"  # which reaches the codes of the first
    other = build(overlay(describe(stack), {"activation": "tanh"}))
    assert [layer.activation for layer in other.layers] == ["tanh", "tanh"]
    assert describe(stack)["layers"][0]["activation"] == {"name": "top_k", "k": 4}


def test_regressor():
    regressor = build({"model": "regressor", "layers": [{"n_hidden": 3}], "finetuning": {"finetune": "head"}})
    assert isinstance(regressor, StackedRegressor)
    assert regressor.finetune == "head"


def test_noise_of_fine_tuning_by_flags_and_back():
    flags = {
        "dropout": 0.5,
        "finetune_corruption": "gaussian",
        "finetune_corruption_level": 0.1,
        "corruption": "masking",
    }
    settings = overlay({"model": "classifier", "layers": [{"n_hidden": 4}]}, flags)
    classifier = build(settings)
    assert (classifier.dropout, classifier.corruption.std) == (0.5, 0.1)
    assert classifier.autoencoder.layers[0].corruption.level == 0.25
    assert describe(build(tomllib.loads(write_toml(describe(classifier))))) == describe(classifier)
    for model, more in (("outliers", {}), ("autoencoder", {})):
        with pytest.raises(ValueError, match="dropout has no meaning without fine-tuning"):
            overlay({"model": model}, {"dropout": 0.5, **more})
    stack = build(overlay({"model": "autoencoder"}, {"finetune": "reconstruction", "dropout": 0.5}))
    assert stack.dropout == 0.5
    toml = build({"model": "regressor", "finetuning": {"sparsity": {"name": "l1", "weight": 0.5}, "dropout": 0.25}})
    assert (toml.sparsity.weight, toml.dropout) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("name", "dtype", "flags", "said"),
    [
        ("x.txt", float, [], True),
        ("x.npy", np.float32, [], True),
        ("x.npy", np.uint8, [], False),
        ("x.txt", float, ["--layers", 2], False),
        ("x.csv", float, [], False),
    ],
)
def test_fit_says_that_an_array_of_numbers_is_no_table(run, tmp_path, name, dtype, flags, said):
    X = (100 * np.random.default_rng(0).random((30, 3))).astype(dtype)
    header = {"x.csv": {"header": "a,b,c", "comments": "", "delimiter": ","}}.get(name, {})
    if name.endswith("npy"):
        np.save(tmp_path / name, X)
    else:
        np.savetxt(tmp_path / name, X, **header)
    words = ["--max-iter", 2, "--validation-fraction", 0, "--no-report", "--out", tmp_path / "r"]
    code, _, err = run("fit", tmp_path / name, *words, *flags)
    assert code == 0, err
    assert ("Recipe: that of arrays and images; as a table with named columns (CSV)" in err) is said
