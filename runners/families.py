"""Says what the models of a family can do and need; asked wherever a model's name would have to be known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """Describes models of one architecture.

    Runners are called what they are called in service/api.py.

    Attributes:
        name: What configs/models.yaml calls the family.
        runner: Which runner recognises utterances.
        gpu_gb: GPU memory that a model takes with its largest batches; None: vLLM is given a share (runners/gpu.py).
        live_runner: Which runner hears live sentences; "" for none.
        live_part: The part of a model that hears them; without it there is no text before a sentence's end.
        punctuation_runner: Which runner punctuates; "": the models say their marks by themselves.
        reads_prompts: Whether a prompt is read as it is written; otherwise its words can be preferred, no more.
        rolls_back: Whether a partial begins with what those before agreed on, less its last tokens.
        cancellable: Whether the runner can give up an utterance that nobody waits for any more.
        needs_gpu: Whether its models are too slow for a CPU to be loaded there without being named.
        special_tokens: Tokens of the recogniser that are no text.
        other_names: Patterns of what clients call a model of the family beside its name, in lower case with hyphens.
    """

    name: str
    runner: str
    gpu_gb: float | None
    live_runner: str = ""
    live_part: str = ""
    punctuation_runner: str = ""
    reads_prompts: bool = False
    rolls_back: bool = False
    cancellable: bool = False
    needs_gpu: bool = False
    special_tokens: frozenset[str] = frozenset()
    other_names: tuple[str, ...] = ()

    @property
    def runners(self) -> tuple[str, ...]:
        """Names every runner that the family's models need, beside those that all models do."""
        return tuple(name for name in (self.runner, self.live_runner, self.punctuation_runner) if name)


PARAFORMER = Family(
    name="paraformer",
    runner="paraformer",
    gpu_gb=3.0,
    live_runner="streaming",
    live_part="streaming",
    punctuation_runner="paraformer",
    special_tokens=frozenset({"<s>", "</s>", "<unk>", "<blank>", "<OOV>"}),
    other_names=(
        "paraformer-zh*",
        "paraformer-v[0-9]*",
        "paraformer-8k*",
        "paraformer-mtl*",
        "paraformer-realtime*",
        "fun-asr*",
    ),
)
QWEN3 = Family(
    name="qwen3",
    runner="qwen3",
    gpu_gb=None,
    live_runner="qwen3",
    live_part="asr",
    reads_prompts=True,
    rolls_back=True,
    cancellable=True,
    needs_gpu=True,
    other_names=("qwen3-asr", "qwen3-asr-flash*", "qwen-asr"),
)
FAMILIES = {family.name: family for family in (PARAFORMER, QWEN3)}


def family_named(name: str) -> Family:
    """Returns the family that configs/models.yaml calls so.

    Raises:
        ValueError: no family is called so.
    """
    if name not in FAMILIES:
        raise ValueError(f"{name!r} is no family; known: {', '.join(FAMILIES)}")
    return FAMILIES[name]
