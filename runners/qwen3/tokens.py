"""Turns text into Qwen3-ASR's token ids and back; of a checkpoint in the original layout, for every backend."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

# Of the published checkpoints, for those that don't say it themselves.
_END_IDS = (151645, 151643)


class Tokens:
    """Holds a checkpoint's tokenizer.

    Attributes:
        end_ids: What an answer ends with.
    """

    def __init__(self, directory: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(directory)  # type: ignore[no-untyped-call]
        file = directory / "generation_config.json"
        found = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id") if file.is_file() else None
        self.end_ids: tuple[int, ...] = (
            _END_IDS if found is None else (found,) if isinstance(found, int) else tuple(found)
        )

    def ids(self, text: str) -> list[int]:
        """Returns the ids of a text; none is added at its ends."""
        return self._tokenizer.encode(text, add_special_tokens=False)  # type: ignore[no-any-return]

    def id_of(self, token: str) -> int:
        """Returns the id of one token by its spelling."""
        return self._tokenizer.convert_tokens_to_ids(token)  # type: ignore[no-any-return]

    def text(self, ids: Iterable[int]) -> str:
        """Returns the text of ids, special tokens left out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)  # type: ignore[no-any-return]

    def piece_bytes(self, ids: Iterable[int]) -> list[int]:
        """Counts how many bytes of the text each token stands for."""
        # byte-level tokens: a letter for each byte; added tokens are plain text
        pieces: list[str] = self._tokenizer.convert_ids_to_tokens(list(ids))
        return [len(t.encode()) if t.startswith("<") else len(t) for t in pieces]
