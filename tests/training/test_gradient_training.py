"""Training by gradients: what it accumulates, when it stops, what it keeps, and that a resumed fit is the same."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from emolake.errors import ConfigurationError
from emolake.models.threads import one_thread
from emolake.training.balance import by_length
from emolake.training.goals import Goals
from emolake.training.gradient_training import (
    GradientTraining,
    backward,
    fit,
    predict_logits,
    trained_weights,
)
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.seeds import seeded
from emolake.training.training_run import Checkpoint

LABELS = 3
SIZES = (6, 16, LABELS)
OPTIONS = OptimiseOptions(
    epochs=6, batch=4, accumulate=3, learning_rate=0.01, warm_up_steps=3, patience=6, label_smoothing=0.1
)


@pytest.fixture(autouse=True)
def alone():
    """So small a network only waits for other threads."""
    with one_thread():
        yield


class Learner:
    """A dense network with dropout over points around one centre for each label."""

    device = "cpu"
    pretrained: Sequence[nn.Parameter] = ()

    def __init__(self, dropout: float = 0.3) -> None:
        generator = np.random.default_rng(5)
        self.targets = generator.integers(0, LABELS, 90)
        self.points = generator.normal(size=(90, SIZES[0])) + np.eye(LABELS, SIZES[0])[self.targets] * 3
        with seeded(7):
            self.lengths = generator.integers(10, 99, 90)
            self.module: nn.Module = nn.Sequential(
                nn.Linear(SIZES[0], SIZES[1]), nn.ReLU(), nn.Dropout(dropout), nn.Linear(SIZES[1], LABELS)
            )

    def logits(self, chosen: np.ndarray, generator: np.random.Generator | None) -> torch.Tensor:
        points = self.points[chosen]
        if generator is not None:
            points = points + generator.normal(size=points.shape) * 0.1
        return torch.as_tensor(self.module(torch.from_numpy(points.astype(np.float32))))


TRAIN, VALIDATION = np.arange(60), np.arange(60, 90)


def run(learner, path, options=OPTIONS, *, validation=VALIDATION, seed=3, on_step=lambda loss, clips: None):
    return fit(
        learner, learner.targets, TRAIN, validation, labels=LABELS, options=options, seed=seed, name="one",
        checkpoint=Checkpoint(path), on_step=on_step,
    )  # fmt: skip


def digest(learner):
    state = trained_weights(learner.module)
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in state.values())).hexdigest()


@pytest.mark.parametrize("clips", [12, 9, 5, 1])
def test_accumulated_batches_equal_one_large_batch(clips):
    """Also when the last batch is short, with weights of classes and smoothed labels."""
    learner = Learner(dropout=0)
    chosen, weights = np.arange(clips), torch.tensor([0.5, 1.0, 3.0])
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def gradients(batch):
        learner.module.zero_grad()
        options = OPTIONS.model_copy(update={"batch": batch})
        goals = Goals.of(learner.targets, [""] * 90, weights, options)
        loss = backward(learner, goals, chosen, None, scaler, options)
        return loss, torch.cat(
            [torch.as_tensor(each.grad).flatten() for each in learner.module.parameters()]
        ).clone()

    whole_loss, whole = gradients(clips)
    loss, accumulated = gradients(4)
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    torch.testing.assert_close(accumulated, whole, rtol=1e-4, atol=1e-7)
    by_hand = nn.functional.cross_entropy(
        learner.logits(chosen, None), torch.from_numpy(learner.targets[chosen]), weight=weights
    )
    assert loss == pytest.approx(by_hand.item(), rel=0.5)
    assert whole.abs().max() > 1e-3


def test_it_learns_and_reports_every_epoch(tmp_path):
    learner = Learner()
    steps = []
    history = run(
        learner, tmp_path / "fit.pt", OPTIONS.model_copy(update={"threshold": 0.0}),
        on_step=lambda loss, clips: steps.append(clips),
    )  # fmt: skip
    assert [row["epoch"] for row in history] == list(range(1, 7))
    assert steps == [12, 12, 12, 12, 12] * 6
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]
    assert max(row["valid_uar"] for row in history) > 0.9
    guess = predict_logits(learner, VALIDATION, batch=7, labels=LABELS).argmax(axis=1)
    best = max(row["valid_uar"] for row in history)
    from sklearn.metrics import balanced_accuracy_score

    assert balanced_accuracy_score(learner.targets[VALIDATION], guess) == pytest.approx(best)


def test_a_stopped_fit_is_resumed_exactly(tmp_path):
    every: dict[str, Any] = {"average": 0.9, "balance": 0.5, "similar_lengths": 3, "head_learning_rate": 0.02}
    for number, changes in enumerate(({"schedule": "linear"}, {"schedule": "plateau"}, every)):
        options = OPTIONS.model_copy(update={"plateau_patience": 0, **changes})
        whole = Learner()
        expected = run(whole, tmp_path / f"{number} whole.pt", options)
        path = tmp_path / f"{number} stopped.pt"
        for stop in (7, 3, 14):  # steps until the next kill; 3 do not make an epoch
            left = iter(range(stop))

            def stopping(loss, clips, left=left):
                if next(left, None) is None:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                run(Learner(), path, options, on_step=stopping)
        again = Learner()
        assert run(again, path, options) == expected
        assert digest(again) == digest(whole)
        third = Learner()
        assert run(third, path, options, on_step=lambda loss, clips: pytest.fail("it was done")) == expected
        assert digest(third) == digest(whole)


def test_the_best_epoch_is_kept_and_not_what_came_after(tmp_path):
    options = OPTIONS.model_copy(
        update={"epochs": 30, "patience": 4, "threshold": 0.02, "monitor": "valid_loss", "learning_rate": 0.3}
    )
    learner = Learner()
    history = run(learner, tmp_path / "fit.pt", options)
    losses = [row["valid_loss"] for row in history]
    assert len(history) < 30
    best, stale = losses[0], 0
    for place, loss in enumerate(losses[1:], start=1):
        if loss < best - 0.02:
            best, stale = loss, 0
        else:
            stale += 1
        assert (stale == 4) == (place == len(losses) - 1)
    logits = predict_logits(learner, VALIDATION, batch=8, labels=LABELS)
    counts = np.bincount(learner.targets[TRAIN], minlength=LABELS)
    own = (1 / counts)[learner.targets[VALIDATION]]
    scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found = -(scores[np.arange(30), learner.targets[VALIDATION]] * own).sum() / own.sum()
    assert found == pytest.approx(best, rel=1e-5)


def test_without_validation_the_last_epoch_counts(tmp_path):
    history = run(Learner(), tmp_path / "fit.pt", validation=VALIDATION[:0])
    assert len(history) == OPTIONS.epochs
    assert {row["valid_uar"] for row in history} == {row["valid_loss"] for row in history} == {None}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    clips=st.integers(1, 400), batch=st.integers(1, 64), epochs=st.integers(1, 150), patience=st.integers(1, 40),
    warm_up=st.integers(0, 2000),
)  # fmt: skip
def test_no_patience_ends_before_the_rate_is_up(clips, batch, epochs, patience, warm_up):
    options = OptimiseOptions(
        epochs=epochs, batch=batch, accumulate=1, patience=patience, warm_up_steps=warm_up, learning_rate=1.0
    )
    learner = Learner()
    training = GradientTraining(
        learner,
        Goals.of(learner.targets, [""] * 90, torch.ones(LABELS), options),
        np.zeros(clips, int),
        options,
        seed=0,
        on_step=lambda *_: None,
    )
    steps = -(-clips // batch)
    assert training._rise <= warm_up
    assert training._rise < steps * min(epochs, patience)
    assert 2 * training._rise <= steps * epochs


def test_rates_rise_and_fall(tmp_path):
    options = OPTIONS.model_copy(update={"warm_up_steps": 10, "batch": 4, "accumulate": 3})
    rates = [row["learning_rate"] for row in run(Learner(), tmp_path / "a.pt", options)]  # 5 steps an epoch
    assert rates == pytest.approx([0.01 * share for share in (6 / 11, 1, 0.75, 0.5, 0.25, 0)])
    capped = options.model_copy(update={"warm_up_steps": 1000})  # a third of 30 steps
    assert [row["learning_rate"] for row in run(Learner(), tmp_path / "b.pt", capped)] == rates
    plateau = options.model_copy(
        update={"schedule": "plateau", "plateau_patience": 0, "threshold": 2.0, "patience": 9}
    )
    # nothing is better by 2: halved from the second epoch on that is watched
    rates = [row["learning_rate"] for row in run(Learner(), tmp_path / "c.pt", plateau)]
    assert rates == pytest.approx([0.01 * share for share in (6 / 11, 1, 1, 0.5, 0.25, 0.125)])


def test_a_seed_decides_all(tmp_path):
    one, two, other = Learner(), Learner(), Learner()
    run(one, tmp_path / "1.pt")
    np.random.default_rng().normal()
    torch.rand(5)
    run(two, tmp_path / "2.pt")
    run(other, tmp_path / "3.pt", seed=4)
    assert digest(one) == digest(two) != digest(other)


def test_bf16_trains_on_the_cpu_and_fp16_is_refused(tmp_path):
    learner = Learner()
    history = run(learner, tmp_path / "fit.pt", OPTIONS.model_copy(update={"precision": "bf16"}))
    assert history[-1]["valid_uar"] > 0.8
    exact = Learner()
    run(exact, tmp_path / "exact.pt")
    assert digest(learner) != digest(exact)
    assert {each.dtype for each in learner.module.parameters()} == {torch.float32}
    with pytest.raises(ConfigurationError, match="precision fp16 was asked on the CPU"):
        run(Learner(), tmp_path / "other.pt", OPTIONS.model_copy(update={"precision": "fp16"}))


def test_a_loss_that_is_no_number_ends_the_fit(tmp_path):
    learner = Learner()
    learner.points[7] = np.nan
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        run(learner, tmp_path / "fit.pt")


def test_a_seeded_block_leaves_the_global_generators_as_they_were():
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(1)
    np.random.seed(1)
    with seeded(4, 2) as generator:
        torch.rand(7), np.random.rand(2), generator.random()
    torch.testing.assert_close(torch.rand(3), expected[0], rtol=0, atol=0)
    np.testing.assert_array_equal(np.random.rand(3), expected[1])


def test_without_patience_all_epochs_are_trained_and_the_last_counts(tmp_path):
    options = OPTIONS.model_copy(update={"patience": None, "learning_rate": 0.3})
    history = run(Learner(), tmp_path / "fit.pt", options)
    assert len(history) == options.epochs
    assert all(row["kept"] for row in history)


def test_averaged_weights_are_the_mean_of_the_last_steps(tmp_path):
    """They predict and are kept, and training goes on from those that were not averaged."""
    options = OPTIONS.model_copy(update={"average": 0.9, "patience": None})
    averaged, plain = Learner(), Learner()
    run(averaged, tmp_path / "a.pt", options)
    steps = []
    mean = trained_weights(plain.module)

    def average(loss, clips):
        steps.append(clips)
        decay = min(0.9, len(steps) / (len(steps) + 9))
        for name, value in trained_weights(plain.module).items():
            mean[name] = decay * mean[name] + (1 - decay) * value

    run(plain, tmp_path / "b.pt", options.model_copy(update={"average": 0.0}), on_step=average)
    for name, value in trained_weights(averaged.module).items():
        torch.testing.assert_close(value, mean[name], rtol=1e-4, atol=1e-6)
    assert digest(averaged) != digest(plain)


def test_labels_that_a_corpus_lacks_count_less_in_its_loss():
    """In the limit the loss is the cross entropy over the corpus' own labels alone."""
    learner = Learner(dropout=0)
    targets = np.array([0, 1, 0, 2, 1, 2])
    corpora = ["a", "a", "a", "b", "b", "b"]  # a has 0 and 1, b has 1 and 2
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def loss(foreign, smoothing=0.0):
        options = OPTIONS.model_copy(
            update={"batch": 6, "foreign_labels": foreign, "label_smoothing": smoothing}
        )
        goals = Goals.of(targets, corpora, torch.ones(LABELS), options)
        if smoothing:
            assert (goals.wanted[:3, 2] == 0).all()
            assert (goals.wanted[3:, 0] == 0).all()
            torch.testing.assert_close(goals.wanted.sum(dim=1), torch.ones(6))
        return backward(learner, goals, np.arange(6), None, scaler, options)

    with torch.no_grad():
        logits = learner.logits(np.arange(6), None)
    whole = nn.functional.cross_entropy(logits, torch.from_numpy(targets)).item()
    own = logits.clone()
    own[:3, 2] = own[3:, 0] = -torch.inf
    alone = nn.functional.cross_entropy(own, torch.from_numpy(targets)).item()
    assert loss(1.0) == pytest.approx(whole, rel=1e-6)
    assert loss(1e-9) == pytest.approx(alone, rel=1e-6)
    assert alone < loss(0.1) < whole
    assert loss(0.1, smoothing=0.2) > 0


def test_the_head_and_what_is_pretrained_have_rates_of_their_own(tmp_path):
    learner = Learner()
    first, _, _, last = learner.module.children()
    learner.pretrained = [*first.parameters()]
    before = {name: value.clone() for name, value in first.state_dict().items()}
    head = {name: value.clone() for name, value in last.state_dict().items()}
    options = OPTIONS.model_copy(
        update={"learning_rate": 1e-9, "head_learning_rate": 0.01, "weight_decay": 0.0, "patience": None}
    )
    run(learner, tmp_path / "fit.pt", options)
    assert all((first.state_dict()[name] - value).abs().max() < 1e-6 for name, value in before.items())
    assert all((last.state_dict()[name] - value).abs().max() > 1e-2 for name, value in head.items())


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 99), min_size=1, max_size=80), size=st.integers(1, 9),
    steps=st.integers(1, 9), seed=st.integers(0, 99),
)  # fmt: skip
def test_similar_lengths_come_together_and_no_clip_is_lost(lengths, size, steps, seed):
    own = np.array(lengths * size)  # whole steps: a short last one may hold any clips
    order = np.random.default_rng(seed).permutation(len(own))
    found = by_length(order, own, size, steps, np.random.default_rng(seed))
    assert sorted(found) == sorted(order)

    def padding(some):
        return sum(own[some[i : i + size]].max() * len(some[i : i + size]) for i in range(0, len(some), size))

    assert padding(found) <= padding(order)
