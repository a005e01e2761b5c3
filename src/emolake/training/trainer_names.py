"""The names that can be trained. Nothing is imported until one is asked for, so that the help can list them."""

TRAINERS: dict[str, str] = {
    "logmel_cnn": "emolake.training.trainers.spectrogram_trainer:LOGMEL",
    "mfcc_cnn": "emolake.training.trainers.spectrogram_trainer:MFCC",
    "mfcc_mlp": "emolake.training.trainers.mfcc_mlp_trainer:MFCC_MLP",
    "wav2vec2_frozen": "emolake.training.trainers.encoder_trainer:FROZEN",
    "wav2vec2_finetune": "emolake.training.trainers.encoder_trainer:FINETUNE",
    "hf_finetune": "emolake.training.trainers.hf_trainer:HF_FINETUNE",
    "s3prl_head": "emolake.training.trainers.s3prl_trainer:S3PRL_HEAD",
    "whisper_head": "emolake.training.trainers.encoder_trainer:WHISPER",
    "whisper_finetune": "emolake.training.trainers.encoder_trainer:WHISPER_FINETUNE",
    "classical": "emolake.training.trainers.classical_trainer:CLASSICAL",
    "multimodal": "emolake.training.trainers.multimodal_trainer:MULTIMODAL",
}
"""Name -> module:instance of a `emolake.training.trainer.Trainer`."""
