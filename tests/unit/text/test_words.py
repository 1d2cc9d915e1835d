"""Tokens become words with times in the file."""

from runners import catalog
from runners.interface import Recognition
from service.domain import Hotword, RecognitionOptions, join_words
from service.text.words import cut_context_warnings, untimed_warnings, with_marks, words_of

MODEL = catalog.models()["paraformer-demo"]


def recognition(*tokens: str) -> Recognition:
    count = len(tokens)
    return Recognition(
        tokens=list(tokens),
        ids=list(range(10, 10 + count)),
        starts_ms=[100 * i for i in range(count)],
        ends_ms=[100 * i + 100 for i in range(count)],
        logprobs=[-0.5] * count,
    )


def test_times_are_counted_from_the_start_of_the_file() -> None:
    first, second = words_of(recognition("你", "好"), MODEL, 5000, 6000)
    assert (first.start_s, first.end_s, second.start_s) == (5.0, 5.1, 5.1)


def test_subword_pieces_are_joined() -> None:
    (word, char) = words_of(recognition("hel@@", "lo", "好"), MODEL, 0, 1000)
    assert (word.text, word.start_s, word.end_s, word.logprob, word.token_ids) == ("hello", 0.0, 0.2, -1.0, (10, 11))
    assert char.text == "好"


def test_a_piece_without_its_continuation_is_kept() -> None:
    assert [w.text for w in words_of(recognition("好", "hel@@"), MODEL, 0, 1000)] == ["好", "hel"]


def test_special_tokens_are_no_words() -> None:
    assert [w.text for w in words_of(recognition("<s>", "好", "<unk>", "</s>"), MODEL, 0, 1000)] == ["好"]


def test_no_word_ends_after_its_utterance() -> None:
    assert words_of(recognition("你", "好"), MODEL, 0, 150)[-1].end_s == 0.15


def test_words_join_with_spaces_only_between_latin_words() -> None:
    words = with_marks(
        words_of(recognition("我", "用", "open", "source", "软", "件"), MODEL, 0, 1000), ["", "", "", "", "", "。"]
    )
    assert join_words(words) == "我用open source软件。"


def test_a_warning_names_the_languages_that_have_times_or_says_that_they_were_not_found() -> None:
    model = catalog.models()["qwen3-asr-1.7b"]
    assert untimed_warnings("hi", model)[0].endswith(", not in hi.")
    assert untimed_warnings("zh", model) == (
        "Some words have no times: qwen3-asr-1.7b did not find them in the audio.",
    )


def test_a_context_of_more_than_the_model_reads_is_warned_of() -> None:
    def warnings(model: str, prompt: str, *hotwords: str) -> tuple[str, ...]:
        words = tuple(map(Hotword, hotwords))
        return cut_context_warnings(RecognitionOptions(catalog.models()[model], prompt=prompt, hotwords=words))

    assert warnings("qwen3-asr-1.7b", "长" * 2000) == ()
    assert "first 2000 characters" in warnings("qwen3-asr-1.7b", "长" * 1996, "热词热词")[0]
    assert "first 36 characters" in warnings("qwen3-asr-demo", "长" * 37)[0]
    assert warnings("paraformer-large", "长" * 9000) == ()
