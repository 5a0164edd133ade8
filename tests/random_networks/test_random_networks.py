"""Random networks hold every check: 300 of them, or as many as COSTMODEL_RANDOM_NETWORKS says."""

from __future__ import annotations

import os

import pytest

from tests.random_networks.checks import CHECKS, first_failure, shrunken
from tests.random_networks.generator import grow

NETWORKS = int(os.environ.get("COSTMODEL_RANDOM_NETWORKS", "300"))
BATCH = 10
"""Networks a test, so that the tests are spread over the cores."""

# The number of threads decides which kernel a convolution gets, and so which networks grow.
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.filterwarnings("ignore")  # what torch says of what a network does: of padding "same", of empty weights
@pytest.mark.parametrize("first", range(0, NETWORKS, BATCH))
def test_every_check_holds_of_random_networks(first: int) -> None:
    """State, coverage, layouts, both executions, MACs, JSON, cross-check and peak, each against torch itself."""
    for seed in range(first, min(first + BATCH, NETWORKS)):
        network = grow(seed)
        failure = first_failure(network)
        if failure is not None:
            name, wrong = failure
            smallest = shrunken(network, name)
            _, still = first_failure(smallest, {name: CHECKS[name]}) or failure
            pytest.fail(f"seed {seed}, {name}: {wrong}\n\nwith fewer steps: {still}\n\n{smallest}", pytrace=False)


def test_a_seed_grows_one_network() -> None:
    """The same source at each call, of several steps on average, in every family, mode and dtype."""
    networks = [grow(seed) for seed in range(60)]
    assert [str(network) for network in networks[:5]] == [str(grow(seed)) for seed in range(5)]
    assert sum(len(network.steps) for network in networks) > 3 * len(networks)
    assert {network.mode for network in networks} == {"eval", "train"}
    assert {network.dtype for network in networks} == {"float32", "float64", "bfloat16", "float16"}
    assert {len(network.shape) for network in networks} == {3, 4, 5}
    assert any(network.autocast for network in networks)
    assert any(0 in network.shape for network in networks)
