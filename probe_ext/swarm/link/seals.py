"""Prove the swarm's token without sending it, and seal every frame that follows.

| frame | direction | content |
|---|---|---|
| knock | worker → master | nothing: the worker has something to say |
| challenge | master → worker | a nonce, in answer to any frame from a worker that the master has no seals for |
| answer | worker → master | a nonce of the worker, and the proof that the worker has the token |
| proof | master → worker | the proof that the master has it |
| refusal | master → worker | nothing: the master has another token, or none |
| sealed | both | counter, authentication code, and the frame itself |

Proofs and the key of the seals are HMAC-SHA256 with the token as key, over both nonces and the worker's id. So a
recorded or forwarded proof does not help anyone without the token. Frames are authenticated, not encrypted. Nothing
else is sent or accepted: what a worker says before both proofs waits on its side.
"""

import hmac
import secrets
from collections import deque
from enum import Enum

_MAGIC = b"\x00probe1"
_NONCE_BYTES = _TAG_BYTES = 32
_COUNTER_BYTES = 8
_MAX_WAITING = 100  # frames of a worker that wait for the master's proof


class Kind(bytes, Enum):
    """The kinds of frames, with the byte that marks each."""

    KNOCK = b"k"
    CHALLENGE = b"c"
    ANSWER = b"a"
    PROOF = b"p"
    REFUSAL = b"r"
    SEALED = b"s"


def kind_of(frame: bytes) -> Kind | None:
    """Return the kind of a frame; None for Locust's own plain ones and for unknown ones."""
    try:
        return Kind(frame[len(_MAGIC) : len(_MAGIC) + 1]) if frame.startswith(_MAGIC) else None
    except ValueError:
        return None


def frame_of(kind: Kind, content: bytes = b"") -> bytes:
    """Return a frame of this kind."""
    return _MAGIC + kind.value + content


def _content(frame: bytes) -> bytes:
    return frame[len(_MAGIC) + 1 :]


def _code(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(len(part).to_bytes(4, "big") + part for part in parts), "sha256")


class Session:
    """The seals of one connection, in both directions."""

    def __init__(self, token: bytes, worker: str, nonces: bytes, *, master: bool) -> None:
        self._key = _code(token, b"seal", worker.encode(), nonces)
        self._out, self._in = (b"m", b"w") if master else (b"w", b"m")
        self._sent = self._received = 0

    def seal(self, frame: bytes) -> bytes:
        """Return the sealed frame."""
        self._sent += 1
        counter = self._sent.to_bytes(_COUNTER_BYTES, "big")
        return frame_of(Kind.SEALED, counter + _code(self._key, self._out, counter, frame) + frame)

    def unseal(self, sealed: bytes) -> bytes | None:
        """Return the frame; None if it is forged or repeated."""
        content = _content(sealed)
        counter, rest = content[:_COUNTER_BYTES], content[_COUNTER_BYTES:]
        tag, frame = rest[:_TAG_BYTES], rest[_TAG_BYTES:]
        number = int.from_bytes(counter, "big")
        if number <= self._received or not hmac.compare_digest(tag, _code(self._key, self._in, counter, frame)):
            return None
        self._received = number
        return frame


class MasterSeals:
    """The master's side, for all workers. Every method returns frames to send or to deliver."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._secret = secrets.token_bytes(_NONCE_BYTES)
        self._sessions: dict[str, list[Session]] = {}
        """newest first; the one before it is still in use until the worker has the new one's proof"""
        self._proofs: dict[str, int] = {}
        """how often each worker has proven the token: no proof is accepted twice"""

    def seal(self, worker: str, frame: bytes) -> bytes | None:
        """Return the sealed frame; None if this worker has not proven the token: nothing is sent to it."""
        sessions = self._sessions.get(worker)
        return sessions[0].seal(frame) if sessions else None

    def receive(self, worker: str, frame: bytes) -> tuple[bytes | None, bytes | None]:
        """Return a frame to deliver, and a frame to send back."""
        kind, sessions = kind_of(frame), self._sessions.get(worker, [])
        if kind is Kind.ANSWER:
            return None, self._on_answer(worker, _content(frame))
        if kind is Kind.SEALED and sessions:
            opened = (session.unseal(frame) for session in sessions)
            return next((plain for plain in opened if plain is not None), None), None
        return None, frame_of(Kind.CHALLENGE, self._nonce(worker))

    def _nonce(self, worker: str) -> bytes:
        """Return the nonce of a worker's next proof. It is not stored, so strangers cannot make it run out."""
        proofs = self._proofs.get(worker, 0).to_bytes(_COUNTER_BYTES, "big")
        return _code(self._secret, worker.encode(), proofs)

    def _on_answer(self, worker: str, content: bytes) -> bytes | None:
        nonces = self._nonce(worker) + content[:_NONCE_BYTES]
        if not hmac.compare_digest(content[_NONCE_BYTES:], _code(self._token, b"worker", worker.encode(), nonces)):
            return None if worker in self._proofs else frame_of(Kind.REFUSAL)  # a proof repeated is no reason to refuse
        new = Session(self._token, worker, nonces, master=True)
        self._sessions[worker] = [new, *self._sessions.get(worker, [])[:1]]
        self._proofs[worker] = self._proofs.get(worker, 0) + 1
        return frame_of(Kind.PROOF, _code(self._token, b"master", worker.encode(), nonces))


class WorkerSeals:
    """The worker's side of one connection."""

    def __init__(self, token: bytes, worker: str) -> None:
        self._token, self._worker = token, worker
        self._nonces = b""
        self._waiting: deque[bytes] = deque(maxlen=_MAX_WAITING)
        self._session: Session | None = None

    def seal(self, frame: bytes) -> bytes:
        """Return what to send: the sealed frame, or a knock before the master has proven the token."""
        if self._session:
            return self._session.seal(frame)
        self._waiting.append(frame)
        return frame_of(Kind.KNOCK)

    def receive(self, frame: bytes) -> tuple[bytes | None, list[bytes]]:
        """Return a frame to deliver, and frames to send. Nothing plain is delivered."""
        match kind_of(frame):
            case Kind.SEALED if self._session:
                return self._session.unseal(frame), []
            case Kind.CHALLENGE:
                own = secrets.token_bytes(_NONCE_BYTES)
                self._nonces = _content(frame)[:_NONCE_BYTES] + own
                return None, [frame_of(Kind.ANSWER, own + _code(self._token, b"worker", *self._both))]
            case Kind.PROOF if hmac.compare_digest(_content(frame), _code(self._token, b"master", *self._both)):
                session = self._session = Session(self._token, self._worker, self._nonces, master=False)
                waiting = [session.seal(waiting) for waiting in self._waiting]
                self._waiting.clear()
                return None, waiting
        return None, []

    @property
    def _both(self) -> tuple[bytes, bytes]:
        return self._worker.encode(), self._nonces
