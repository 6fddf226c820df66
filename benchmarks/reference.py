"""The rival of 2014: UFLDL's stacked autoencoder in plain float64 NumPy, trained with SciPy's L-BFGS-B."""

from __future__ import annotations

import time

import numpy as np
import scipy.optimize

RHO, BETA, ALPHA = 0.1, 3.0, 3e-3
N_HIDDEN, N_CLASSES = 200, 10


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def split(theta, *shapes):
    sizes = [int(np.prod(shape)) for shape in shapes]
    return [part.reshape(shape) for part, shape in zip(np.split(theta, np.cumsum(sizes)[:-1]), shapes, strict=True)]


def sparse_cost(theta, X, n_hidden):
    m, n = X.shape
    W1, b1, W2, b2 = split(theta, (n_hidden, n), (n_hidden,), (n, n_hidden), (n,))
    H = sigmoid(X @ W1.T + b1)
    R = sigmoid(H @ W2.T + b2)
    rho_hat = H.mean(axis=0)
    error = R - X
    cost = (
        0.5 / m * np.sum(error**2)
        + 0.5 * ALPHA * (np.sum(W1**2) + np.sum(W2**2))
        + BETA * np.sum(RHO * np.log(RHO / rho_hat) + (1 - RHO) * np.log((1 - RHO) / (1 - rho_hat)))
    )
    delta2 = error * R * (1 - R)
    delta1 = (delta2 @ W2 + BETA * (-RHO / rho_hat + (1 - RHO) / (1 - rho_hat))) * H * (1 - H)
    gradients = (
        delta1.T @ X / m + ALPHA * W1,
        delta1.mean(axis=0),
        delta2.T @ H / m + ALPHA * W2,
        delta2.mean(axis=0),
    )
    return cost, np.concatenate([gradient.ravel() for gradient in gradients])


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_cost(theta, H, y):
    m = len(H)
    W = theta.reshape(N_CLASSES, -1)
    P = softmax(H @ W.T)
    cost = -np.mean(np.log(P[np.arange(m), y])) + 0.5 * ALPHA * np.sum(W**2)
    P[np.arange(m), y] -= 1
    return cost, (P.T @ H / m + ALPHA * W).ravel()


def network_cost(theta, X, y, h):
    m, n = X.shape
    W, W1, b1, W2, b2 = split(theta, (N_CLASSES, h), (h, n), (h,), (h, h), (h,))
    H1 = sigmoid(X @ W1.T + b1)
    H2 = sigmoid(H1 @ W2.T + b2)
    P = softmax(H2 @ W.T)
    cost = -np.mean(np.log(P[np.arange(m), y])) + 0.5 * ALPHA * np.sum(W**2)
    P[np.arange(m), y] -= 1
    delta2 = P @ W * H2 * (1 - H2)
    delta1 = delta2 @ W2 * H1 * (1 - H1)
    gradients = (
        P.T @ H2 / m + ALPHA * W,
        delta1.T @ X / m,
        delta1.mean(axis=0),
        delta2.T @ H1 / m,
        delta2.mean(axis=0),
    )
    return cost, np.concatenate([gradient.ravel() for gradient in gradients])


def start(n_features, rng):
    bound = np.sqrt(6 / (n_features + N_HIDDEN + 1))
    weights = [rng.uniform(-bound, bound, N_HIDDEN * n_features) for _ in range(2)]
    return np.concatenate([weights[0], np.zeros(N_HIDDEN), weights[1], np.zeros(n_features)])


def train_layer(X, max_iter):
    """Train layer 1; return its cost, evaluations and seconds."""
    began = time.perf_counter()
    result = scipy.optimize.minimize(
        sparse_cost,
        start(X.shape[1], np.random.default_rng(0)),
        (X, N_HIDDEN),
        method="L-BFGS-B",
        jac=True,
        options={"maxiter": max_iter},
    )
    return {"cost": result.fun, "evaluations": result.nfev, "seconds": time.perf_counter() - began}
