"""A normal member of scikit-learn: its own checks, in several settings, and what pipelines and searches need."""

import pytest
import torch
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)

# float64: scikit-learn compares weighted with repeated rows to 1e-7.
_F64 = {"dtype": "float64"}
_LBFGS = (Autoencoder(4, solver=LBFGS(10), **_F64), LBFGS(15))  # each iteration amplifies the rounding of sums
_ADAM = (
    Autoencoder(4, corruption=Masking(0.2), solver=Adam(20, learning_rate_init=0.01), **_F64),
    Adam(40, learning_rate_init=0.05, batch_size=32),
)
_TIED = (Autoencoder(4, tied=True, contraction=1e-3, solver=LBFGS(10), **_F64), LBFGS(20))


def estimators(layer, solver):
    """Return every estimator in one setting."""
    stack = StackedAutoencoder([layer, layer], solver=solver, **_F64)
    return [
        layer,
        clone(stack).set_params(finetune="reconstruction") if layer.tied else stack,
        StackedClassifier(layer if layer.tied else stack, solver=solver),
        StackedRegressor(layer if layer.tied else stack, solver=solver),
        AutoencoderOutlierDetector(layer),
        AutoencoderImputer(layer),
    ]


ALL = [estimator for setting in (_LBFGS, _ADAM, _TIED) for estimator in estimators(*setting)]
NAMES = [f"{type(estimator).__name__}-{place}" for place, estimator in enumerate(ALL)]


@pytest.fixture(autouse=True)
def one_thread():
    """Very small problems are faster so."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.filterwarnings("ignore")  # the checks provoke many
@parametrize_with_checks(ALL)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


# Those that scikit-learn runs on its own estimators alone.
OTHER_CHECKS = [
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_get_feature_names_out_error",
    "check_dataframe_column_names_consistency",
    "check_param_validation",
    "check_inplace_ensure_writeable",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OTHER_CHECKS)
@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
def test_other_checks_of_scikit_learn(estimator, name):
    if not hasattr(estimator, "transform") and ("output" in name or "feature_names_out" in name):
        pytest.skip(f"{type(estimator).__name__} is no transformer")
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("estimator", [Autoencoder(), StackedAutoencoder(), StackedClassifier(), StackedRegressor()])
def test_weights_are_repetition_by_default_too(estimator, kind):  # 200 iterations amplify any rounding
    check = getattr(estimator_checks, f"check_sample_weight_equivalence_on_{kind}_data")
    check(type(estimator).__name__, estimator)
