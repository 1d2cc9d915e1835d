"""Trains the demo Qwen3-ASR, or with --aligner its forced aligner (resumable; one thread).

    nice python -m scripts.demo.train_qwen3 --data build/demo/qwen3 --minutes 50
    nice python -m scripts.demo.train_qwen3 --data build/demo/qwen3 --minutes 62 --aligner

Needs the shards of scripts.demo.synthesize_qwen3; the aligner starts from the recogniser's weights. As
espeak-ng tells when each character is said, the audio states are told too; short texts in the first minutes make
attention find its way; cut recordings teach that a partial text ends where the sound does. The network is
qwen-asr's own, written in the original layout.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from runners.qwen3 import network as qwen3_network
from runners.qwen3.prompt import AUDIO_PAD, TEXT_TAG, TIMESTAMP, alignment_prompt, recognition_prompt
from runners.qwen3.whisper_features import encoded_length, normalised
from scripts.character_errors import edit_distance
from scripts.demo import qwen3_checkpoint
from scripts.demo.sentences import SLOTS, strip_punctuation
from scripts.demo.training import Schedule, WeightAverage

CURRICULUM_S = 150.0
SHORT_FRAMES, FRAMES_PER_BATCH = 250, 3200
WINDOW_FRAMES = 800
LANGUAGE = "Chinese"
TIMESTAMP_MS = qwen3_checkpoint.TIMESTAMP_MS
LONGEST_ALIGNED_S = qwen3_checkpoint.LONGEST_ALIGNED_S
Example = dict[str, Any]
_WORDS = [word for name in ("city", "place", "device", "food", "item", "action") for word in SLOTS[name]]


@dataclass(frozen=True)
class Recording:
    """Holds a training recording.

    Attributes:
        energies: (bands, frames) log-mel energies, not normalised.
        text: Punctuated.
        times_ms: When each character is said, from and to.
    """

    energies: torch.Tensor
    text: str
    times_ms: list[tuple[int, int]]

    @staticmethod
    def joined(examples: Sequence[Example]) -> Recording:
        """Joins examples one after the other."""
        times, offset_ms = [], 0
        for example in examples:
            times += [(start + offset_ms, end + offset_ms) for start, end in example["times_ms"]]
            offset_ms += example["energies"].shape[1] * 10
        energies = torch.cat([e["energies"].float() for e in examples], dim=1)
        return Recording(energies, "".join(e["text"] for e in examples), times)

    def cut(self, end_ms: int) -> Recording:
        """Keeps what was said by a time; a mark counts once the next word could have begun."""
        marks = "，。？、"
        count = sum(
            1 for c, (_, end) in zip(self.text, self.times_ms, strict=True) if end + (c in marks) * 250 <= end_ms
        )
        return Recording(self.energies[:, : end_ms // 10], self.text[:count], self.times_ms[:count])


class Composer:
    """Draws recordings: most of one sentence, some of several, some cut off in the middle."""

    def __init__(
        self, examples: list[Example], rng: random.Random, longest_s: float, cut: float, several: float
    ) -> None:
        self.examples, self.rng, self.longest_s = examples, rng, longest_s
        self.cut_share, self.several_share = cut, several

    def draw(self, short: bool) -> Recording:
        """Draws a recording; where ``short``, one sentence of few frames."""
        rng = self.rng
        if short:
            while (example := rng.choice(self.examples))["energies"].shape[1] > SHORT_FRAMES:
                pass
            return Recording.joined([example])
        limit = 0.0
        if rng.random() < self.several_share:
            limit = rng.uniform(4, min(20.0, self.longest_s))
            if self.longest_s > 20 and rng.random() < 0.25:
                limit = rng.uniform(15, self.longest_s)
        chosen: list[Example] = []
        frames = 0
        while not chosen or frames < limit * 100:
            example = rng.choice(self.examples)
            if chosen and (frames + example["energies"].shape[1]) > self.longest_s * 100:
                break
            chosen.append(example)
            frames += example["energies"].shape[1]
        recording = Recording.joined(chosen)
        if rng.random() < self.cut_share and frames > 60:
            recording = recording.cut(rng.randint(40, frames) * 10)
        return recording

    def batches(self, short: bool) -> Iterator[list[Recording]]:
        """Yields batches of similar lengths of about FRAMES_PER_BATCH frames."""
        drawn = sorted((self.draw(short) for _ in range(300)), key=lambda r: r.energies.shape[1])
        batches: list[list[Recording]] = [[]]
        for recording in drawn:
            if batches[-1] and recording.energies.shape[1] * (len(batches[-1]) + 1) > FRAMES_PER_BATCH:
                batches.append([])
            batches[-1].append(recording)
        self.rng.shuffle(batches)
        yield from batches


class Trainee:
    """Computes losses of recordings with the network and its tokenizer."""

    def __init__(self, network: Any, tokenizer: Any, rng: random.Random) -> None:
        self.network, self.thinker, self.tokenizer, self.rng = network, network.thinker, tokenizer, rng
        self.pad = tokenizer.pad_token_id
        self.audio_pad = tokenizer.convert_tokens_to_ids(AUDIO_PAD)
        self.timestamp = tokenizer.convert_tokens_to_ids(TIMESTAMP)
        self.end = tokenizer.eos_token_id
        self.early = torch.empty(0)  # the decoder's states before its last layer
        self.thinker.model.layers[-1].register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, _: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.early = given[0] if given else named["hidden_states"]

    def ids(self, text: str) -> list[int]:
        """Returns the ids of a text; none is added at its ends."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def features(self, recording: Recording, augmented: bool) -> torch.Tensor:
        """Computes what the model takes, of at least a second; augmented ones are shifted and masked.

        Long ones are often normalised window by window then, as live ones are.
        """
        rng, energies = self.rng, recording.energies
        if energies.shape[1] < 100:
            quiet = energies.min(dim=1, keepdim=True).values
            energies = torch.cat([energies, quiet.expand(-1, 100 - energies.shape[1])], dim=1)
        if not augmented:
            return normalised(energies)
        energies = energies + rng.uniform(-0.4, 0.4)
        if energies.shape[1] > WINDOW_FRAMES and rng.random() < 0.5:  # as live windows are
            found = torch.cat([normalised(w) for w in energies.split(WINDOW_FRAMES, dim=1)], dim=1)
        else:
            found = normalised(energies).clone()
        for axis, widest in ((0, 16), (0, 16), (1, 12), (1, 12)):
            width = rng.randint(0, widest)
            start = rng.randint(0, found.shape[axis] - width)
            found.narrow(axis, start, width).fill_(float(found.mean()))
        if rng.random() < 0.5:
            found = found + torch.randn_like(found) * rng.random() * 0.1
        return found

    def context(self, text: str) -> str:
        """Draws what the prompt says before the audio: mostly nothing, else words, some of which may be said."""
        rng = self.rng
        if rng.random() < 0.75:
            return ""
        words = rng.sample(_WORDS, rng.randint(1, 6))
        if len(text) > 4 and rng.random() < 0.5:
            start = rng.randrange(len(text) - 2)
            words.append(strip_punctuation(text[start : start + rng.randint(2, 4)]))
        rng.shuffle(words)
        return rng.choice(" 、，").join(words)

    def audio(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Computes the audio states of all recordings in a row, (tokens, width)."""
        lengths = torch.tensor([f.shape[1] for f in features])
        return self.thinker.audio_tower(torch.cat(features, 1), feature_lens=lengths).last_hidden_state

    def states(self, rows: list[list[int]], audio: torch.Tensor) -> torch.Tensor:
        """Computes the decoder's last states for token rows whose audio places are filled from ``audio``."""
        ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=self.pad)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            mask[row, : len(tokens)] = 1
        embedded = self.thinker.model.embed_tokens(ids)
        embedded = embedded.masked_scatter(
            (ids == self.audio_pad)[..., None].expand_as(embedded), audio.to(embedded.dtype)
        )
        return self.thinker.model(inputs_embeds=embedded, attention_mask=mask, use_cache=False)[0]

    def recognition_loss(self, batch: list[Recording], augmented: bool = True) -> tuple[torch.Tensor, list[float]]:
        """Returns the recogniser's loss, and what it is made of: that of the text, and of the audio states."""
        features = [self.features(r, augmented) for r in batch]
        lengths = [encoded_length(f.shape[1]) for f in features]
        audio = self.audio(features)
        rows, targets = [], []
        for recording, length in zip(batch, lengths, strict=True):
            text = recording.text
            language = LANGUAGE if text or self.rng.random() < 0.5 else "None"
            prompt = recognition_prompt(self.context(text), None, audio_tokens=AUDIO_PAD * length)
            answer = [*self.ids(f"language {language}{TEXT_TAG}{text}"), self.end]
            asked = self.ids(prompt)
            rows.append(asked + self.misheard(answer, augmented))
            targets.append([-100] * (len(asked) - 1) + answer)
        states = self.states(rows, audio)
        labels = pad_sequence([torch.tensor(t) for t in targets], batch_first=True, padding_value=-100)
        asked_for = labels != -100
        logits = self.thinker.lm_head(states[:, : labels.shape[1]][asked_for])
        lm = functional.cross_entropy(logits, labels[asked_for], label_smoothing=0.05 if augmented else 0.0)
        heard = torch.cat([self.heard(r, n) for r, n in zip(batch, lengths, strict=True)])
        frames = functional.cross_entropy(functional.linear(audio, self.thinker.lm_head.weight), heard)
        return lm + frames, [lm.item(), frames.item()]

    def misheard(self, answer: list[int], augmented: bool) -> list[int]:
        """Makes the answer its own past, with some wrong characters, so that the decoder trusts the sound more."""
        share, rng = self.rng.random() * 0.2 if augmented else 0.0, self.rng
        return [rng.choice(answer[3:]) if at > 2 and rng.random() < share else t for at, t in enumerate(answer)]

    def heard(self, recording: Recording, length: int) -> torch.Tensor:
        """Returns what is said during each audio token, as token ids; padding for silence."""
        ids = torch.full((length,), self.pad)
        for character, (start_ms, end_ms) in zip(recording.text, recording.times_ms, strict=True):
            if end_ms > start_ms:
                first, last = (round(ms * 13 / 1000) for ms in (start_ms, end_ms))
                ids[first : max(last, first + 1)] = self.ids(character)[0]
        return ids

    def alignment_loss(self, batch: list[Recording], augmented: bool = True) -> tuple[torch.Tensor, list[float]]:
        """Returns the aligner's loss, and what it is made of: those of the edges and of the audio's places.

        After them comes the percentage of edges more than 120 ms from where they should be.
        """
        features = [self.features(r, augmented) for r in batch]
        lengths = [encoded_length(f.shape[1]) for f in features]
        audio = self.audio(features)
        rows, times = [], []
        for recording, length in zip(batch, lengths, strict=True):
            pairs = zip(recording.text, recording.times_ms, strict=True)
            units: list[str] = []
            said: list[int] = []
            for character, edges_ms in pairs:
                if strip_punctuation(character):
                    units.append(character)
                    said += edges_ms
            rows.append(self.ids(alignment_prompt(units, audio_tokens=AUDIO_PAD * length)))
            times += [min(t / TIMESTAMP_MS, qwen3_checkpoint.TIMESTAMPS - 1.0) for t in said]
        states = self.states(rows, audio)
        ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=self.pad)
        marked = self.thinker.lm_head(states[ids == self.timestamp])
        loss = _soft_cross_entropy(marked, torch.tensor(times))
        # The audio's own places, told too, teach the decoder to count; before the last layer, which looks them up.
        places = torch.cat([torch.arange(n) / 13 * 1000 / TIMESTAMP_MS for n in lengths])
        early = self.thinker.model.norm(self.early[ids == self.audio_pad])
        counted = _soft_cross_entropy(self.thinker.lm_head(early), places)
        late = (marked.argmax(-1) - torch.tensor(times)).abs() * TIMESTAMP_MS > 120
        return loss + 0.3 * counted, [loss.item(), counted.item(), 100 * late.float().mean().item()]

    @torch.no_grad()
    def recognise(self, recordings: list[Recording], most: int = 48) -> list[str]:
        """Decodes texts greedily, for the report."""
        features = [self.features(r, False) for r in recordings]
        lengths = [encoded_length(f.shape[1]) for f in features]
        audio = self.audio(features)
        rows = [self.ids(recognition_prompt("", LANGUAGE, audio_tokens=AUDIO_PAD * n)) for n in lengths]
        begun = [len(row) for row in rows]
        for _ in range(most):
            states = self.states(rows, audio)
            done = True
            for row, state in zip(rows, states, strict=True):
                if row[-1] != self.end:
                    row.append(int(self.thinker.lm_head(state[len(row) - 1]).argmax()))
                    done = done and row[-1] == self.end
            if done:
                break
        return [self.tokenizer.decode(row[n:], skip_special_tokens=True) for row, n in zip(rows, begun, strict=True)]


def _soft_cross_entropy(logits: torch.Tensor, places: torch.Tensor, width: float = 0.7) -> torch.Tensor:
    """Computes cross entropy against a bell around each place (in classes): near misses cost less than far ones."""
    distance = (torch.arange(logits.shape[-1])[None] - places[:, None]) / width
    target = (-0.5 * distance.square()).softmax(-1)
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def error_rate(trainee: Trainee, examples: list[Example]) -> float:
    """Returns the character error rate in percent, punctuation apart."""
    recordings = sorted((Recording.joined([e]) for e in examples), key=lambda r: r.energies.shape[1])
    errors = said = 0
    for start in range(0, len(recordings), 25):
        batch = recordings[start : start + 25]
        for recording, text in zip(batch, trainee.recognise(batch), strict=True):
            reference = strip_punctuation(recording.text)
            errors += edit_distance(reference, strip_punctuation(text))
            said += len(reference)
    return 100 * errors / said


@torch.no_grad()
def late_share(trainee: Trainee, examples: list[Example]) -> float:
    """Returns the percentage of word edges more than 120 ms from where they should be.

    Recordings are of up to ten seconds.
    """
    groups: list[list[Example]] = [[]]
    for example in examples:
        frames = sum(e["energies"].shape[1] for e in (*groups[-1], example))
        if groups[-1] and frames > LONGEST_ALIGNED_S * 100:
            groups.append([])
        groups[-1].append(example)
    recordings = map(Recording.joined, groups)
    found = [(trainee.alignment_loss([r], False)[1][2], len(r.text)) for r in recordings]
    return sum(late * letters for late, letters in found) / sum(letters for _, letters in found)


def main() -> None:
    """Trains for so many minutes, from the checkpoint if there is one, and writes the directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/demo/qwen3"))
    parser.add_argument("--out", type=Path, default=Path("models/demo"))
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--peak-rate", type=float, default=1.6e-3)
    parser.add_argument("--aligner", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    name = "qwen3_aligner" if arguments.aligner else "qwen3_asr"
    out: Path = arguments.out / name
    tokenizer = qwen3_checkpoint.write_tokenizer(out)
    config = qwen3_checkpoint.configuration(tokenizer, aligner=arguments.aligner)
    qwen3_checkpoint.write_config(out, config)
    network, averaged = qwen3_network.build(config), qwen3_network.build(config)
    qwen3_checkpoint.initialise(network)
    qwen3_checkpoint.tie(averaged)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    average, step, elapsed_s = WeightAverage(network, 0.999), 0, 0.0
    checkpoint = arguments.data / f"{name}.checkpoint"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.state, step, elapsed_s = saved["average"], saved["step"], saved["elapsed_s"]
    elif arguments.aligner:
        learned = load_file(arguments.out / "qwen3_asr" / "model.safetensors")
        network.load_state_dict({k: v for k, v in learned.items() if "lm_head" not in k}, strict=False)
        average = WeightAverage(network, 0.999)
    rng = random.Random(step)
    trainee, shipped = Trainee(network, tokenizer, rng), Trainee(averaged, tokenizer, rng)
    loss_of = trainee.alignment_loss if arguments.aligner else trainee.recognition_loss
    examples = [e for path in sorted(arguments.data.glob("train-*.pt")) for e in torch.load(path)]
    if arguments.aligner:
        examples = [e for e in examples if e["text"]]
    evaluation = {p.stem: torch.load(p) for p in sorted(arguments.data.glob("eval-*.pt"))}
    longest_s, cut, several = (LONGEST_ALIGNED_S, 0.15, 0.6) if arguments.aligner else (62.0, 0.3, 0.25)
    composer = Composer(examples, rng, longest_s, cut, several)
    schedule = Schedule(arguments.peak_rate, 300, arguments.minutes * 60, elapsed_s)
    size = sum(p.numel() for p in network.parameters()) / 1e6
    print(f"{size:.2f} M parameters, {len(examples)} examples", flush=True)

    def report(losses: list[list[float]], most: int) -> None:
        averaged.load_state_dict(average.state)
        measure = late_share if arguments.aligner else error_rate
        averaged.eval()
        rates = {k: f"{measure(shipped, v[:most]):.2f}" for k, v in evaluation.items()}
        qwen3_checkpoint.write_weights(out, averaged)
        state = {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state}
        torch.save({**state, "step": step, "elapsed_s": schedule.elapsed_s}, checkpoint)
        mean = np.mean(losses[-300:], axis=0).round(3) if losses else "-"
        print(f"{schedule.elapsed_s / 60:.1f} min, step {step}, loss {mean}, wrong % {rates}", flush=True)

    losses: list[list[float]] = []
    last_report = time.monotonic()
    network.train()
    while not schedule.finished:
        short = not arguments.aligner and schedule.elapsed_s < CURRICULUM_S
        for batch in composer.batches(short):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
            loss, parts = loss_of(batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimizer.step()
            average.update(network, step)
            step += 1
            losses.append(parts)
            if time.monotonic() - last_report > 300:
                report(losses, 150 if arguments.aligner else 50)
                last_report = time.monotonic()
            if schedule.finished:
                break
    report(losses, 150)


if __name__ == "__main__":
    main()
