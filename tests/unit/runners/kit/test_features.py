"""Features equal those of the libraries that the models were trained with."""

import kaldi_native_fbank
import numpy as np
import pytest

from runners.kit.features import fbank, frame_count, stack_frames


def kaldi_fbank(pcm: np.ndarray) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = "hamming"
    options.mel_opts.num_bins = 80
    options.energy_floor = 0.0
    extractor = kaldi_native_fbank.OnlineFbank(options)
    extractor.accept_waveform(16_000, pcm.astype(np.float32))
    extractor.input_finished()
    return np.stack([extractor.get_frame(i) for i in range(extractor.num_frames_ready)])


@pytest.mark.parametrize("samples", [400, 559, 560, 16_000, 33_333])
def test_features_equal_kaldis(samples: int) -> None:
    pcm = (np.random.default_rng(samples).standard_normal(samples) * 2000).astype(np.int16)
    pcm[: samples // 3] = 0
    ours = fbank(pcm).numpy()
    assert len(ours) == frame_count(samples)
    np.testing.assert_allclose(ours, kaldi_fbank(pcm), atol=2e-3)


def test_audio_shorter_than_a_frame_has_no_features() -> None:
    assert fbank(np.zeros(399, np.int16)).shape == (0, 80)


@pytest.mark.parametrize("frames", [1, 5, 6, 7, 100])
@pytest.mark.parametrize(("m", "n"), [(7, 6), (5, 1)])
def test_stacking_equals_funasrs(frames: int, m: int, n: int) -> None:
    from runners.kit.funasr_models import model_class
    from runners.paraformer.engine import MODULES

    model_class("Paraformer", MODULES)  # installs the bare package that makes FunASR's modules importable
    import torch
    from funasr.frontends.wav_frontend import apply_lfr

    features = torch.randn(frames, 80)
    torch.testing.assert_close(stack_frames(features, m, n), apply_lfr(features, m, n))
