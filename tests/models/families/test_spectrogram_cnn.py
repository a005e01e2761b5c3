"""The family "spectrogram_cnn": loading, refusals, and answers that the batch does not change."""

import json

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from emolake.audio.feature_options import MelOptions
from emolake.errors import ConfigurationError
from emolake.models.families.spectrogram_cnn import SpectrogramCnn
from emolake.models.families.spectrogram_network import (
    EmotionNetwork,
    clip_features,
    speech_bounds,
    state_to_tensors,
)
from emolake.models.families.spectrogram_options import FeatureOptions, NetworkOptions, SpectrogramCnnOptions
from emolake.models.protocol import Batching
from emolake.models.trained_folder import TrainedFolder

SMALL = NetworkOptions(channels=(4, 6, 8, 10), track_channels=4, hidden=12)
SEVEN = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads on tensors this small mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_network(options, seed):
    """Weights and running statistics away from their start, so that every layer has something to get wrong."""
    torch.manual_seed(seed)
    network = EmotionNetwork(options.network, rows=options.features.rows, labels=len(options.labels))
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.3)
        elif name.endswith("running_var"):
            value.uniform_(0.3, 1.0)
        elif value.is_floating_point() and "weight" in name:
            value.mul_(2)
    network.image_mean.normal_()
    network.image_scale.uniform_(5, 15)
    return network


def write(folder, options, seed=0):
    folder.mkdir(exist_ok=True)
    states = [random_network(options, seed + member).state_dict() for member in range(options.members)]
    save_file(state_to_tensors(states), folder / "model.safetensors")
    (folder / "config.json").write_text(options.model_dump_json())
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    options = SpectrogramCnnOptions(labels=SEVEN, network=SMALL, members=2)
    return SpectrogramCnn.load(
        TrainedFolder(path=write(tmp_path_factory.mktemp("model"), options)), device="cpu", precision="fp32"
    )


@pytest.fixture(scope="module")
def mfcc_model(tmp_path_factory):
    options = SpectrogramCnnOptions(labels=SEVEN[:3], network=SMALL, features=FeatureOptions(kind="mfcc"))
    return SpectrogramCnn.load(
        TrainedFolder(path=write(tmp_path_factory.mktemp("mfcc"), options)), device="cpu", precision="fp32"
    )


def clip(samples, seed, loudness=0.1):
    """Noise of which a random middle part is loud: it has edges to trim, and frames of both kinds of parity."""
    generator = np.random.default_rng(seed)
    wave = generator.normal(size=samples) * loudness
    first, last = sorted(generator.integers(0, samples, size=2))
    wave[:first] *= 1e-3
    wave[last:] *= 1e-3
    return torch.from_numpy(wave.astype(np.float32))


def padded(clips, extra=0):
    lengths = torch.tensor([len(wave) for wave in clips])
    waves = torch.zeros(len(clips), int(lengths.max()) + extra)
    for row, wave in zip(waves, clips, strict=True):
        row[: len(wave)] = wave
    return waves, lengths


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(400, 40000), min_size=2, max_size=5),
    extra=st.integers(0, 9000),
    seed=st.integers(0, 999),
)
def test_the_batch_does_not_change_the_answer(model, mfcc_model, sizes, extra, seed):
    clips = [clip(size, seed + row) for row, size in enumerate(sizes)]
    for each in (model, mfcc_model):
        batch = each.predict(*padded(clips, extra)).logits
        alone = torch.cat([each.predict(*padded([wave])).logits for wave in clips])
        torch.testing.assert_close(batch.softmax(dim=1), alone.softmax(dim=1), atol=1e-4, rtol=0)
        assert alone.shape == (len(clips), len(each.labels))


def test_random_weights_tell_clips_apart(model):
    answers = model.predict(*padded([clip(16000, seed) for seed in range(4)])).logits
    assert answers.std(dim=0).max() > 1e-2  # else the property above would hold for a constant


@pytest.mark.parametrize(
    "wave",
    [
        torch.zeros(16000),
        torch.zeros(400),
        torch.ones(8000),
        clip(400, 1),
        clip(401, 2),
        clip(16000, 3, loudness=0.002),
        clip(16000, 4, loudness=50.0).clamp(-1, 1),
        torch.nn.functional.pad(clip(800, 5), (20000, 20000)),
    ],
    ids=["silence", "short silence", "constant", "shortest", "odd", "quiet", "clipped", "blip"],
)
def test_odd_input_gives_finite_logits(model, mfcc_model, wave):
    for each in (model, mfcc_model):
        logits = each.predict(*padded([wave])).logits
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


def test_speech_of_many_lengths_has_few_shapes(model, monkeypatch):
    shapes = set()
    forward = EmotionNetwork.forward

    def recorded(network, features):
        shapes.add((*features.image.shape, *features.tracks.shape))
        return forward(network, features)

    monkeypatch.setattr(EmotionNetwork, "forward", recorded)
    for number in range(20):
        speech = clip(16_000 + 1_000 * number, number)
        model.predict(*padded([torch.nn.functional.pad(speech, (0, 48_000 - len(speech)))]))
    assert len(shapes) <= 3


def test_a_long_recording_is_answered(model):
    assert model.predict(*padded([clip(16000 * 90, 0)])).logits.isfinite().all()


def test_it_keeps_the_protocol(model):
    assert (model.family, model.batching, model.min_samples) == ("spectrogram_cnn", Batching.MASKED, 400)
    assert (model.labels, model.sampling_rate, model.precision, model.device) == (SEVEN, 16000, "fp32", "cpu")


def test_leading_and_trailing_silence_is_cut(model):
    wave = clip(24000, 8)
    quiet = torch.nn.functional.pad(wave[5000:19000], (16000, 16000))  # whole hops, so the frames fall alike
    spread = model.predict(*padded([quiet])).logits.softmax(dim=1) - model.predict(
        *padded([wave[5000:19000]])
    ).logits.softmax(dim=1)
    assert spread.abs().max() < 0.05


def test_speech_bounds_by_hand():
    energy = torch.full((2, 30), -60.0)
    energy[0, 10:15] = 0.0  # smoothing over three frames adds one on either side
    energy[1, 3:6] = -20.0
    start, end = speech_bounds(
        energy, torch.tensor([30, 7]), FeatureOptions(trim_db=35, trim_margin_frames=3)
    )
    assert start.tolist() == [7, 0]
    assert end.tolist() == [18, 7]
    alone = speech_bounds(energy[1:, :7], torch.tensor([7]), FeatureOptions(trim_db=35, trim_margin_frames=3))
    assert (alone[0].tolist(), alone[1].tolist()) == ([0], [7])


def test_the_level_comes_back_as_one_number():
    power = torch.rand(1, 64, 50) + 0.1
    pitch = torch.stack([torch.full((1, 50), 0.9), torch.full((1, 50), 300.0)], dim=1)
    plain = clip_features(power, pitch, torch.tensor([50]), FeatureOptions())
    louder = clip_features(power * 100, pitch, torch.tensor([50]), FeatureOptions())
    torch.testing.assert_close(louder.image, plain.image, atol=1e-4, rtol=0)
    torch.testing.assert_close(louder.tracks, plain.tracks, atol=1e-4, rtol=0)
    assert float(louder.clip[0, 0] - plain.clip[0, 0]) == pytest.approx(20 / 15, abs=1e-4)
    assert plain.tracks[0, 1].unique().tolist() == pytest.approx(
        [2.0]
    )  # an octave above 150 Hz, in half octaves


def test_temperature_divides_the_logits(tmp_path):
    options = SpectrogramCnnOptions(labels=SEVEN, network=SMALL)
    plain = SpectrogramCnn.load(
        TrainedFolder(path=write(tmp_path / "a", options)), device="cpu", precision="fp32"
    )
    cooled = options.model_copy(update={"temperature": 2.0})
    halved = SpectrogramCnn.load(
        TrainedFolder(path=write(tmp_path / "b", cooled)), device="cpu", precision="fp32"
    )
    wave = padded([clip(9000, 0)])
    torch.testing.assert_close(halved.predict(*wave).logits * 2, plain.predict(*wave).logits)


def test_members_are_averaged(tmp_path):
    one = SpectrogramCnnOptions(labels=SEVEN, network=SMALL)
    both = one.model_copy(update={"members": 2})
    wave = padded([clip(9000, 0)])
    single = [
        SpectrogramCnn.load(
            TrainedFolder(path=write(tmp_path / str(seed), one, seed)), device="cpu", precision="fp32"
        )
        .predict(*wave)
        .logits
        for seed in (5, 6)
    ]
    together = (
        SpectrogramCnn.load(
            TrainedFolder(path=write(tmp_path / "both", both, 5)), device="cpu", precision="fp32"
        )
        .predict(*wave)
        .logits
    )
    torch.testing.assert_close(together, (single[0] + single[1]) / 2)


def change(folder, **tensors):
    """Replace (or, with None, remove) tensors of the folder's weights."""
    stored = load_file(folder / "model.safetensors") | {
        name.replace("__", "."): value for name, value in tensors.items()
    }
    save_file(
        {name: value for name, value in stored.items() if value is not None}, folder / "model.safetensors"
    )


def spoil_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: change(f, members__0__output__bias=None), "members.0.output.bias is missing"),
        (lambda f: change(f, members__0__extra=torch.ones(2)), "members.0.extra is not expected"),
        (lambda f: change(f, members__7__extra=torch.ones(2)), "members.7.extra is not expected"),
        (
            lambda f: change(f, members__0__output__bias=torch.ones(3)),
            r"output.bias has the shape \(3,\), expected \(7,\)",
        ),
        (
            lambda f: change(f, members__0__output__bias=torch.full((7,), torch.nan)),
            "output.bias is not finite",
        ),
        (lambda f: spoil_config(f, labels=SEVEN[:5]), r"output.bias has the shape \(7,\), expected \(5,\)"),
        (lambda f: spoil_config(f, members=3), r"members\.1\.convolutions.* is missing"),
        (lambda f: spoil_config(f, colour="red"), "colour"),
        (lambda f: spoil_config(f, family="hubert"), "family"),
        (lambda f: spoil_config(f, temperature=0), "temperature"),
        (lambda f: (f / "config.json").write_text("{"), "not a configuration"),
        (lambda f: (f / "config.json").unlink(), "cannot be read"),
        (lambda f: (f / "model.safetensors").unlink(), "cannot be read as safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04pickle"), "cannot be read as safetensors"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path, spoil, message):
    folder = write(tmp_path / "model", SpectrogramCnnOptions(labels=SEVEN, network=SMALL))
    spoil(folder)
    with pytest.raises(ConfigurationError, match=message):
        SpectrogramCnn.load(TrainedFolder(path=folder), device="cpu", precision="fp32")


@pytest.mark.parametrize("rows", [16, 40, 41, 64, 80])
def test_any_number_of_rows_and_labels_fits(rows):
    features = FeatureOptions(mel=MelOptions(bands=rows))
    network = EmotionNetwork(SMALL, rows=features.rows, labels=4).eval()
    power = torch.rand(2, rows, 21)
    pitch = torch.rand(2, 2, 21) * 200 + 60
    assert network(clip_features(power, pitch, torch.tensor([21, 5]), features)).shape == (2, 4)


def test_the_committed_weights_know_the_clips_that_they_were_trained_on(shared_data):
    """Plumbing only: all of these speakers are in the training data. The honest figures are in the model card."""
    from importlib.resources import files
    from pathlib import Path

    from emolake.evaluation.dataset import read_dataset

    folder = Path(str(files("emolake.models.small")))
    default = SpectrogramCnn.load(TrainedFolder(path=folder), device="cpu", precision="fp32")
    clips = read_dataset(shared_data)[::12]
    waves = [torch.from_numpy(soundfile.read(each.path, dtype="float32")[0]) for each in clips]
    right = 0
    for start in range(0, len(clips), 16):
        guess = default.predict(*padded(waves[start : start + 16])).logits.argmax(dim=1)
        right += sum(
            default.labels[index] == each.emotion
            for index, each in zip(guess.tolist(), clips[start : start + 16], strict=True)
        )
    assert len(clips) > 100
    assert right / len(clips) > 0.85
    assert (folder / "model.safetensors").stat().st_size < 5_000_000
