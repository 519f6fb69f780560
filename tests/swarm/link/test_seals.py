"""The token is proven by both sides without being sent, and every frame after that is sealed."""

import pytest

from probe_ext.settings.secrets import swarm_token
from probe_ext.swarm.link.seals import Kind, MasterSeals, Session, WorkerSeals, frame_of, kind_of

TOKEN = b"correct horse battery staple"
HELLO = b"\x93\xacclient_ready"


def shake(master: MasterSeals, worker: WorkerSeals, name: str = "w") -> tuple[list[bytes], list[bytes]]:
    """Exchange frames until neither side has anything to say; return what was delivered, and what was on the wire."""
    delivered, to_master = [], [worker.seal(HELLO)]
    wire = [*to_master]
    while to_master:
        frame, back = master.receive(name, to_master.pop(0))
        delivered += [frame] if frame is not None else []
        if back is not None:
            _, answers = worker.receive(back)
            to_master += answers
            wire += [back, *answers]
    return delivered, wire


def test_both_sides_prove_the_token_and_never_send_it() -> None:
    master, worker = MasterSeals(TOKEN), WorkerSeals(TOKEN, "w")
    assert master.seal("w", b"quit") is None  # nothing is sent to a worker without proof
    delivered, wire = shake(master, worker)
    assert delivered == [HELLO]  # it waited for the proofs
    assert not any(frame.startswith(HELLO) for frame in wire)
    assert not any(TOKEN in frame for frame in wire)
    for frame in (b"spawn", b"x" * 100_000):
        assert worker.receive(master.seal("w", frame) or b"")[0] == frame
        assert master.receive("w", worker.seal(frame))[0] == frame


def test_a_worker_with_another_token_gets_nothing_through() -> None:
    master, worker = MasterSeals(TOKEN), WorkerSeals(b"another token of some length", "w")
    delivered, wire = shake(master, worker)
    assert delivered == []
    assert kind_of(wire[-1]) is Kind.REFUSAL
    assert master.seal("w", b"spawn") is None
    assert master.receive("w", HELLO)[0] is None


def test_a_worker_obeys_no_master_without_the_token() -> None:
    worker = WorkerSeals(TOKEN, "w")
    assert worker.receive(b"\x93\xa5spawn") == (None, [])
    delivered, _ = shake(MasterSeals(b"another token of some length"), worker)
    assert delivered == []
    assert worker.receive(frame_of(Kind.PROOF, bytes(32))) == (None, [])
    assert worker.receive(frame_of(Kind.SEALED, bytes(80))) == (None, [])
    assert kind_of(worker.seal(HELLO)) is Kind.KNOCK  # still unproven


def test_a_forwarded_proof_does_not_help_whoever_forwards_it() -> None:
    """A man in the middle passes the proofs on, and is admitted; without the key of the seals that is of no use."""
    master, worker = MasterSeals(TOKEN), WorkerSeals(TOKEN, "w")
    shake(master, worker)
    forged = Session(b"a guess", "w", bytes(64), master=False).seal(b"probe_batch")
    assert master.receive("w", forged)[0] is None
    assert master.receive("w", b"\x93probe_batch")[0] is None


def test_a_proof_counts_for_its_own_worker_and_once() -> None:
    master, worker = MasterSeals(TOKEN), WorkerSeals(TOKEN, "w")
    _, challenge = master.receive("w", worker.seal(HELLO))
    _, (answer,) = worker.receive(challenge or b"")
    master.receive("thief", HELLO)
    assert master.receive("thief", answer)[0] is None
    assert master.seal("thief", b"spawn") is None
    _, proof = master.receive("w", answer)
    assert kind_of(proof or b"") is Kind.PROOF
    assert master.receive("w", answer) == (None, None)


def test_what_an_impostor_says_before_the_proof_is_not_the_workers() -> None:
    master, worker = MasterSeals(TOKEN), WorkerSeals(TOKEN, "w")
    master.receive("w", b"\x93probe_end")
    assert shake(master, worker)[0] == [HELLO]


def test_sealed_frames_count_once_and_unchanged() -> None:
    master, worker = MasterSeals(TOKEN), WorkerSeals(TOKEN, "w")
    shake(master, worker)
    sealed = worker.seal(b"probe_batch 1")
    assert master.receive("w", sealed)[0] == b"probe_batch 1"
    assert master.receive("w", sealed)[0] is None
    changed = bytearray(worker.seal(b"probe_batch 2"))
    changed[-1] ^= 1
    assert master.receive("w", bytes(changed))[0] is None
    assert worker.receive(worker.seal(b"mirrored")) == (None, [])  # of the wrong direction


def test_a_reconnected_worker_and_a_reset_master_prove_it_again() -> None:
    master, worker = MasterSeals(TOKEN), WorkerSeals(TOKEN, "w")
    shake(master, worker)
    worker = WorkerSeals(TOKEN, "w")
    assert shake(master, worker)[0] == [HELLO]
    assert master.receive("w", worker.seal(b"heartbeat"))[0] == b"heartbeat"
    master = MasterSeals(TOKEN)
    _, challenge = master.receive("w", worker.seal(b"heartbeat"))
    _, (answer,) = worker.receive(challenge or b"")
    _, proof = master.receive("w", answer)
    worker.receive(proof or b"")
    assert master.receive("w", worker.seal(b"heartbeat"))[0] == b"heartbeat"


def test_strangers_that_knock_cost_nothing_and_take_no_challenge_from_anybody() -> None:
    master = MasterSeals(TOKEN)
    for n in range(12_000):
        _, challenge = master.receive(f"stranger {n}", HELLO)
        assert challenge is not None
    assert not master._proofs
    assert not master._sessions
    worker = WorkerSeals(TOKEN, "w")
    assert shake(master, worker)[0] == [HELLO]


def test_a_repeated_proof_opens_nothing_and_refuses_nobody() -> None:
    master, worker = MasterSeals(TOKEN), WorkerSeals(TOKEN, "w")
    _, wire = shake(master, worker)
    (answer,) = (frame for frame in wire if kind_of(frame) is Kind.ANSWER)
    sealed = [frame for frame in wire if kind_of(frame) is Kind.SEALED]
    for frame in (answer, *sealed, answer):
        assert master.receive("w", frame) == (None, None)
    assert master.receive("w", worker.seal(b"heartbeat"))[0] == b"heartbeat"


@pytest.mark.parametrize("token", ["short", "123456789012345"])
def test_a_token_that_can_be_guessed_is_refused(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_SWARM_TOKEN", token)
    with pytest.raises(ValueError, match="PROBE_SWARM_TOKEN: must have at least 16"):
        swarm_token()
