"""Whisper, BERT and cepstral coefficients joined agree with the original libraries' own answers, in any batch."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emolake.errors import ConfigurationError
from emolake.models.families.multimodal import Multimodal, MultimodalOptions
from emolake.models.families.multimodal_network import MultimodalHead
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.models.transcriber import Transcriber
from emolake.tasks.classify import Engine

pytestmark = pytest.mark.slow

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
LABELS = ("angry", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
LANGUAGES = ("en", "ko", "ur")
WHISPER_S = 13  # 30 in every published Whisper; a shorter padding computes the same in a fifth of the time


def write_whisper(folder: Path) -> None:
    """Write a tiny random multilingual Whisper over single bytes, with its tokenizer and extractor."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = {symbol: index for index, symbol in enumerate(bytes_to_unicode().values())}
    end = "<|endoftext|>"
    tokenizer = transformers.WhisperTokenizer(
        vocab={**symbols, end: len(symbols)},
        merges=[],
        unk_token=end,
        bos_token=end,
        eos_token=end,
        pad_token=end,
    )
    specials = ["<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES), "<|translate|>", "<|transcribe|>",
                "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]  # fmt: skip
    tokenizer.add_special_tokens({"additional_special_tokens": specials})
    tokenizer.add_tokens([f"<|{index * 0.02:.2f}|>" for index in range(1501)])
    number = tokenizer.convert_tokens_to_ids
    torch.manual_seed(3)
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=1, encoder_attention_heads=4, encoder_ffn_dim=64, decoder_layers=1,
        decoder_attention_heads=4, decoder_ffn_dim=64, vocab_size=len(tokenizer), pad_token_id=number(end),
        bos_token_id=number(end), eos_token_id=number(end), decoder_start_token_id=number(specials[0]),
        suppress_tokens=None, begin_suppress_tokens=None, max_source_positions=50 * WHISPER_S, init_std=0.5,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        is_multilingual=True, lang_to_id={f"<|{code}|>": number(f"<|{code}|>") for code in LANGUAGES},
        task_to_id={name: number(f"<|{name}|>") for name in ("translate", "transcribe")},
        no_timestamps_token_id=number("<|notimestamps|>"), prev_sot_token_id=number("<|startofprev|>"),
        suppress_tokens=list(range(128, 256)), begin_suppress_tokens=[number(end)], max_length=448,
        decoder_start_token_id=number(specials[0]), eos_token_id=number(end), pad_token_id=number(end),
        bos_token_id=number(end),
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(chunk_length=WHISPER_S).save_pretrained(folder)


def write_bert(folder: Path) -> None:
    """Write a tiny random BERT as it was pre-trained, over single characters, in the layout with a vocab.txt."""
    folder.mkdir(parents=True)
    characters = [chr(code) for code in range(33, 127)]
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *characters,
        *(f"##{each}" for each in characters),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(4)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=768, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    transformers.BertForPreTraining(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with everything in it."""
    folder = tmp_path_factory.mktemp("multimodal")
    write_whisper(folder / "whisper")
    write_bert(folder / "bert")
    torch.manual_seed(6)
    head = MultimodalHead((808, 256, 128, len(LABELS)), 0.3)
    save_file(head.state_dict(), folder / "model.safetensors")
    config = {"family": "multimodal", "labels": LABELS, "speech_to_text": "whisper", "text_encoder": "bert",
              "language": "ko", "max_new_tokens": 12, "licence": "CC0-1.0"}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(made, tmp_path / "model"))


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Noise and tones of mixed lengths, one frame, 12 s, silence, clipped, quiet."""
    generator = np.random.default_rng(3)
    made = [generator.normal(0, 0.1, length) for length in (400, 16_000, 9_000, 192_000)]
    made += [np.zeros(12_000), np.sign(generator.normal(0, 1, 8_000)), generator.normal(0, 0.002, 20_000)]
    made += [0.3 * np.sin(np.arange(24_000) / step) for step in (3, 9, 27)]
    return [clip.astype(np.float32) for clip in made]


def entry(folder: Path, **options: Any) -> ModelEntry:
    return ModelEntry("tiny", "multimodal", MultimodalOptions(path=folder, **options))


def load(folder: Path, **options: Any) -> Multimodal:
    return Multimodal.load(MultimodalOptions(path=folder, **options), device="cpu", precision="fp32")


def logits(model: Any, clips: list[np.ndarray], batch_seconds: float) -> np.ndarray:
    return np.stack([each.logits for each in Engine(model, int(batch_seconds * 16_000)).scores(clips)])


def batch(clips: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    waves = [torch.from_numpy(clip) for clip in clips]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(
        [len(wave) for wave in waves]
    )


def reference(folder: Path, clips: list[np.ndarray]) -> tuple[list[str], np.ndarray]:
    """Transcripts and logits by transformers and librosa, one clip at a time."""
    whisper = transformers.WhisperForConditionalGeneration.from_pretrained(folder / "whisper").eval()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder / "whisper")
    whisper_tokenizer = transformers.WhisperTokenizer.from_pretrained(folder / "whisper")
    bert = transformers.BertModel.from_pretrained(folder / "bert").eval()
    bert_tokenizer = transformers.BertTokenizer.from_pretrained(folder / "bert")
    head = load_file(folder / "model.safetensors")
    texts, answers = [], []
    for clip in clips:
        prepared = extractor(clip, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
        tokens = whisper.generate(**prepared, language="ko", task="transcribe", max_new_tokens=12)
        texts.append(whisper_tokenizer.batch_decode(tokens, skip_special_tokens=True)[0].strip())
        with torch.inference_mode():
            [text] = bert(**bert_tokenizer(texts[-1], return_tensors="pt")).last_hidden_state[:, 0]
            sound = torch.from_numpy(librosa.feature.mfcc(y=clip, sr=16_000, n_mfcc=40).mean(axis=1))
            values = torch.cat([text, sound])
            for layer in (0, 1):
                values = head[f"layers.{layer}.weight"] @ values + head[f"layers.{layer}.bias"]
                values = 0.5 * values * (1 + torch.erf(values / 2**0.5))
            answers.append(head["layers.2.weight"] @ values + head["layers.2.bias"])
    return texts, torch.stack(answers).numpy()


def test_logits_equal_the_original_libraries_in_any_batch(made: Path, clips: list[np.ndarray]) -> None:
    model = load(made)
    texts, wanted = reference(made, clips)
    assert len(set(texts)) > 2  # else the text's part would show nothing
    assert wanted.std(axis=0).min() > 100 * TOLERANCE
    assert model.batching is Batching.MASKED
    assert model.transcripts(*batch(clips)) == tuple(texts)
    for batch_seconds in (0.01, 25.0, 1000.0):  # each alone, some together, all together
        model = load(made)
        assert np.abs(logits(model, clips, batch_seconds) - wanted).max() < TOLERANCE, batch_seconds


def test_text_and_sound_both_reach_the_answer(
    made: Path, clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(made)
    before = logits(model, clips[1:3], 25.0)
    assert np.abs(before - logits(model, [clip / 8 for clip in clips[1:3]], 25.0)).max() > 100 * TOLERANCE
    monkeypatch.setattr(Transcriber, "transcripts", lambda _, clips: ["something else"] * len(clips))
    assert np.abs(before - logits(load(made), clips[1:3], 25.0)).max() > 100 * TOLERANCE


def test_an_empty_and_a_long_transcript_have_a_vector(
    made: Path, clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("", "a " * 500):
        monkeypatch.setattr(Transcriber, "transcripts", lambda _, clips, text=text: [text] * len(clips))
        assert np.isfinite(logits(load(made), clips[:2], 25.0)).all()


def test_one_large_model_is_on_the_device_at_a_time(
    made: Path, clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[str] = []

    def recorded(model: Any, device: str) -> Any:
        # The tests have one device; "cpu" is where a model is moved away to, "cpu:0" where it is used.
        # Moved in inference mode, weights could never be moved outside of it again.
        assert not torch.is_inference_mode_enabled()
        moves.append(f"{model.config.model_type} to {device}")
        return model

    for keep, expected in (
        (False, ["whisper to cpu:0", "whisper to cpu", "bert to cpu:0", "bert to cpu"]),
        (True, ["whisper to cpu:0", "bert to cpu:0"]),
    ):
        model = Multimodal.load(
            MultimodalOptions(path=made, keep_loaded=keep), device="cpu:0", precision="fp32"
        )
        with monkeypatch.context() as patched:
            patched.setattr(transformers.PreTrainedModel, "to", recorded)
            model.predict(*batch(clips[:3]))
        assert moves == expected
        moves.clear()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the length of every clip that is really transcribed."""
    transcribed: list[int] = []
    original = Transcriber.transcripts

    def transcripts(self: Transcriber, clips: Sequence[torch.Tensor]) -> list[str]:
        transcribed.extend(map(len, clips))
        return original(self, clips)

    monkeypatch.setattr(Transcriber, "transcripts", transcripts)
    return transcribed


def test_transcripts_of_the_batch_predicted_last_cost_nothing(
    made: Path, clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    transcribed, model = counted(monkeypatch), load(made)
    model.predict(*batch(clips[:2]))
    assert transcribed == [400, 16_000]
    assert len(model.transcripts(*batch(clips[:2]))) == 2
    assert transcribed == [400, 16_000]
    model.predict(*batch(clips[2:3]))
    model.predict(*batch(clips[:1]))
    assert transcribed == [400, 16_000, 9_000, 400]


def test_transcripts_are_kept_by_content_and_model(
    folder: Path, tmp_path: Path, clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    transcribed, cache = counted(monkeypatch), tmp_path / "cache"
    cache.mkdir()
    first = logits(load(folder, transcript_cache=cache), clips[:3], 25.0)
    assert sorted(transcribed) == [400, 9_000, 16_000]
    assert sum(path.is_file() for path in cache.glob("**/*")) == 3
    again = logits(load(folder, transcript_cache=cache), [*clips[:3], clips[0]], 25.0)
    assert len(transcribed) == 3
    assert np.abs(again[:3] - first).max() < TOLERANCE
    louder = [clip + np.float32(1e-6) for clip in clips[:1]]
    logits(load(folder, transcript_cache=cache), louder, 25.0)
    assert len(transcribed) == 4
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"language": "en"}))
    logits(load(folder, transcript_cache=cache), clips[:1], 25.0)
    assert len(transcribed) == 5


def test_without_a_cache_nothing_is_written(folder: Path, clips: list[np.ndarray]) -> None:
    before = sorted(folder.parent.glob("**/*"))
    logits(load(folder), clips[:1], 25.0)
    assert sorted(folder.parent.glob("**/*")) == before


def test_a_cache_folder_must_exist(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"transcript_cache is .*nowhere, which is no folder"):
        load(made, transcript_cache=tmp_path / "nowhere")


def test_the_cache_folder_and_keep_loaded_do_not_change_the_fingerprint(made: Path, tmp_path: Path) -> None:
    assert entry(made, transcript_cache=tmp_path, keep_loaded=True).fingerprint == entry(made).fingerprint
    assert (entry(made).labels, entry(made).licence) == (LABELS, "CC0-1.0")


def test_whisper_takes_no_more_than_it_pads_to(made: Path) -> None:
    model = load(made)
    assert (model.min_samples, model.max_samples) == (400, WHISPER_S * 16_000)
    with pytest.raises(ConfigurationError, match=r"14\.0 s was given to Whisper, which takes at most 13 s"):
        model.predict(torch.zeros(1, 224_000), torch.tensor([224_000]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"language": "xx"}, "language is 'xx'.*knows en, ko, ur; correct language"),
        ({"speech_to_text": "bert"}, "'bert' model; expected a 'whisper' model"),
        ({"text_encoder": "whisper"}, "'whisper' model; expected a 'bert' model"),
        ({"text_encoder": "/nowhere"}, "there is no folder /nowhere"),
        ({"labels": ["happy", "sad"]}, r"layers\.2\.weight has the shape"),
        ({"hidden": [256]}, r"layers\.2\.weight"),
        ({"colour": "red"}, "not a configuration of the family multimodal"),
    ],
)
def test_a_wrong_configuration_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigurationError, match=message):
        load(folder)


def test_english_only_whisper_takes_no_language(folder: Path, clips: list[np.ndarray]) -> None:
    path = folder / "whisper" / "generation_config.json"
    generation = json.loads(path.read_text()) | {"is_multilingual": False}
    del generation["lang_to_id"]
    path.write_text(json.dumps(generation))
    with pytest.raises(ConfigurationError, match="knows none: it is an English-only model"):
        load(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"language": None}))
    assert np.isfinite(logits(load(folder), clips[:2], 25.0)).all()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("model.safetensors", "layers.1.bias"),
        ("bert/model.safetensors", "bert.encoder.layer.0.output.dense.weight"),
        ("whisper/model.safetensors", "model.encoder.layers.0.fc1.weight"),
    ],
)
def test_weights_missing_or_left_over_are_named(folder: Path, file: str, name: str) -> None:
    whole = load_file(folder / file)
    without = {key: tensor for key, tensor in whole.items() if key != name}
    assert len(without) == len(whole) - 1
    save_file(without, folder / file, metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=name.removeprefix("bert.")):
        load(folder)
    save_file({**whole, "surplus.weight": torch.zeros(1)}, folder / file, metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=r"surplus\.weight"):
        load(folder)


def test_a_weight_that_is_not_finite_is_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["layers.1.bias"][0] = float("inf")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ConfigurationError, match=r"layers\.1\.bias is not finite"):
        load(folder)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


FILES = ("config.json", "model.safetensors", "bert/config.json", "bert/vocab.txt", "bert/model.safetensors",
         "whisper/config.json", "whisper/generation_config.json", "whisper/tokenizer.json",
         "whisper/preprocessor_config.json", "whisper/model.safetensors")  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_another_model(folder: Path, made: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    changed = content.replace(b" ", b"\n", 1) if name.endswith("json") else flipped
    (folder / name).write_bytes(changed)
    assert changed != content
    assert entry(folder).fingerprint != entry(made).fingerprint


@pytest.mark.parametrize("name", FILES)
def test_truncated_and_missing_files_are_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    if not name.endswith("vocab.txt"):  # half of whose lines are a smaller vocabulary
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ConfigurationError):
            load(folder)
    (folder / name).unlink()
    with pytest.raises(ConfigurationError):
        load(folder)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith("safetensors")])
def test_a_pickle_runs_nothing(folder: Path, tmp_path: Path, name: str) -> None:
    torch.save({"layers.0.weight": _Bomb(tmp_path / "executed")}, folder / name)
    with pytest.raises(ConfigurationError):
        load(folder)
    assert not (tmp_path / "executed").exists()


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    with (folder / "bert" / "vocab.txt").open("a") as vocabulary:
        vocabulary.write("\nunknown")
    with pytest.raises(ConfigurationError, match="a tokenizer of 194 tokens, and its network knows 193"):
        load(folder)
