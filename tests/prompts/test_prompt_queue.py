"""Which prompts are sent: each once before any is repeated, whatever the number of processes; none that is too long."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from probe_ext.prompts.files.file_chat import FileChat
from probe_ext.prompts.files.length_check import FileLengths, check_lengths
from probe_ext.prompts.files.prompt_file import PromptFile
from probe_ext.prompts.files.prompt_forms import FilePrompt
from probe_ext.prompts.files.prompt_queue import PromptQueue

Write = Callable[[list[str]], PromptFile]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(prompts: list[str]) -> PromptFile:
        path = tmp_path / "p.txt"
        path.write_text("\n".join(prompts))
        return PromptFile(path)

    return written


def taken(queue: PromptQueue, number: int) -> list[str]:
    return [str(queue.take().text) for _ in range(number)]


@pytest.mark.parametrize("slots", [1, 2, 4, 7])
def test_no_prompt_is_repeated_before_all_were_sent_on_any_number_of_workers(write: Write, slots: int) -> None:
    file = write([f"prompt {n}" for n in range(84)])
    share = 84 // slots
    sent = Counter(text for slot in range(slots) for text in taken(PromptQueue(file, 7, slot=slot, slots=slots), share))
    assert set(sent.values()) == {1}
    assert len(sent) == 84
    assert sent == Counter(taken(PromptQueue(file, 7), 84))  # the same as on one worker


def test_a_short_run_sends_the_same_prompts_on_one_worker_and_on_four(write: Write) -> None:
    file = write([f"prompt {n}" for n in range(1000)])
    one = taken(PromptQueue(file, 7), 100)
    four = [text for slot in range(4) for text in taken(PromptQueue(file, 7, slot=slot, slots=4), 25)]
    assert sorted(one) == sorted(four)
    assert sorted(one) != sorted(taken(PromptQueue(file, 8), 100))


def test_a_worker_that_joins_later_begins_elsewhere(write: Write) -> None:
    file = write([f"prompt {n}" for n in range(1000)])
    first = {text for slot in range(4) for text in taken(PromptQueue(file, 7, slot=slot, slots=4), 50)}
    assert not first & set(taken(PromptQueue(file, 7, slot=5, slots=4), 50))


def test_what_is_left_out_is_never_sent(write: Write) -> None:
    file = write([f"{n}" for n in range(20)])
    left_out = {0, 1, 7, 19}
    queue = PromptQueue(file, 7, left_out)
    assert len(queue) == 16
    assert Counter(map(int, taken(queue, 32))) == {n: 2 for n in range(20) if n not in left_out}
    with pytest.raises(ValueError, match="must be a prompt"):
        PromptQueue(file, 7, range(20))


def by_words(file: PromptFile) -> Callable[[int], int]:
    return lambda number: 5 + len(str(file[number].text).split())


def lengths(file: PromptFile, limit: int | None = None, samples: int = 50, **given: object) -> FileLengths | None:
    count = given.get("count", by_words(file))
    return check_lengths(file, count, limit=limit, seed=7, samples=samples, spent=given.get("spent", lambda: 0.0))  # type: ignore[arg-type]


def words(number: int, rng: random.Random) -> str:
    return " ".join("x" * rng.randint(1, 9) for _ in range(number))


def test_every_prompt_that_is_too_long_is_found_by_counting_few(write: Write) -> None:
    rng = random.Random(3)
    sizes = [int(rng.lognormvariate(4, 0.8)) + 1 for _ in range(3000)]
    file = write([words(size, rng) for size in sizes])
    found = lengths(file, limit=305)
    assert found is not None
    assert found.left_out == tuple(number for number, size in enumerate(sizes) if size > 300)
    assert 5 < len(found.left_out) < 200
    assert found.longest == (sizes.index(max(sizes)), max(sizes) + 5)
    assert found.counted < 500
    kept = [size + 5 for size in sizes if size <= 300]
    assert found.mean_tokens == pytest.approx(sum(kept) / len(kept), rel=0.03)
    assert not found.exact


def test_a_short_file_is_counted_completely(write: Write) -> None:
    found = lengths(write(["a b c", "a", "a b"]), limit=100)
    assert found is not None
    assert (found.counted, found.mean_tokens, found.exact, found.left_out, found.longest) == (3, 7.0, True, (), None)


def test_all_may_be_too_long(write: Write) -> None:
    found = lengths(write(["a b c", "a b"]), limit=3)
    assert found is not None
    assert (found.left_out, found.mean_tokens) == ((0, 1), None)


def test_without_time_sizes_decide(write: Write) -> None:
    rng = random.Random(3)
    file = write([words(size, rng) for size in [20] * 50 + [1000] * 5 + [20] * 50])
    found = lengths(file, limit=500, samples=20, spent=lambda: 1.0)
    assert found is not None
    assert found.counted == 1
    assert set(found.left_out) == set(range(50, 55))
    assert found.longest is None


def test_a_server_that_refuses_to_count_long_prompts_counts_the_others(write: Write) -> None:
    file = write(["a " * 10] * 40 + ["a " * 2000])

    def count(number: int) -> int | None:
        tokens = by_words(file)(number)
        return tokens if tokens < 1000 else None

    found = lengths(file, limit=900, samples=10, count=count)
    assert found is not None
    assert found.left_out == (40,)
    assert lengths(file, limit=900, count=lambda number: None) is None


def turns(prompt_file: list[FilePrompt], asked: int, **how: str) -> list[list[tuple[str, object]]]:
    chat = FileChat(iter(prompt_file).__next__, **how)
    sent = []
    for number in range(asked):
        sent.append([(message["role"], message["content"]) for message in chat.ask().messages])
        chat.answered(f"answer {number + 1}")
    return sent


def prompt(*messages: tuple[str, object], later: tuple[str, ...] = (), **fields: object) -> FilePrompt:
    return FilePrompt(
        tuple({"role": role, "content": content} for role, content in messages),
        tuple({"role": "user", "content": text} for text in later),
        fields,
    )


def test_a_conversation_has_the_recorded_turns_then_the_next_prompts() -> None:
    file = [prompt(("system", "s"), ("user", "a"), later=("b",)), prompt(("system", "t"), ("user", "c"))]
    sent = turns(file, 3, system="ignored", shared_prefix="p")
    assert sent[0] == [("system", "s"), ("user", "p a")]
    assert sent[1] == [*sent[0], ("assistant", "answer 1"), ("user", "b")]
    assert sent[2] == [*sent[1], ("assistant", "answer 2"), ("user", "c")]


def test_a_system_prompt_and_a_shared_prefix_are_added() -> None:
    image = {"type": "image_url"}
    sent = turns([prompt(("user", [image]))], 1, system="s", shared_prefix="p")
    assert sent == [[("system", "s"), ("user", [{"type": "text", "text": "p"}, image])]]


def test_tools_go_with_every_turn_and_plain_text_fits_completions() -> None:
    chat = FileChat(iter([prompt(("user", "a"), tools=[1])]).__next__)
    assert chat.ask().fields == {"tools": [1]}
    plain = FileChat(iter([prompt(("user", "a"))]).__next__, shared_prefix="p").ask()
    assert (plain.text, plain.asked_tokens) == ("p a", None)
