"""What the tests of `identity` put in place of time, network and disk."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from gevent.event import Event

from zlay_py.atproto.keys import Curve, PublicKey
from zlay_py.errors import LocalError, NetError
from zlay_py.identity.model import Identity, IdentityState

START_US = 1_750_000_000_000_000
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
HOST = "pds.example.com"


def new_key(curve: Curve = Curve.K256) -> PublicKey:
    private = ec.generate_private_key(ec.SECP256K1() if curve is Curve.K256 else ec.SECP256R1())
    return PublicKey.from_point(curve, private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint))


KEY, OTHER_KEY = new_key(), new_key(Curve.P256)


def did(number: int) -> str:
    """A well-formed did:plc for every small number."""
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return f"did:plc:{'a' * 20}" + "".join(letters[number // 32**place % 32] for place in (3, 2, 1, 0))


def identity(of: str = DID, *, key: PublicKey | None = KEY, host: str | None = HOST, at_us: int = START_US) -> Identity:
    state = IdentityState.OK if key is not None and host is not None else IdentityState.UNUSABLE
    return Identity(of, state, key, host, None, at_us)


def gone(state: IdentityState = IdentityState.NOT_FOUND, *, of: str = DID, at_us: int = START_US) -> Identity:
    return Identity(of, state, None, None, None, at_us)


def document(of: str = DID, *, key: PublicKey = KEY, pds: str = f"https://{HOST}") -> dict[str, object]:
    """As the PLC directory answers."""
    return {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": of,
        "alsoKnownAs": ["at://someone.example.com"],
        "verificationMethod": [
            {"id": f"{of}#atproto", "type": "Multikey", "controller": of, "publicKeyMultibase": key.multikey()}
        ],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}],
    }


class ManualClock:
    """Both clocks go only when told."""

    def __init__(self) -> None:
        self.elapsed_us = 0

    def now_us(self) -> int:
        return START_US + self.elapsed_us

    def monotonic_s(self) -> float:
        return self.elapsed_us / 1e6

    def forward(self, seconds: float) -> None:
        self.elapsed_us += int(seconds * 1e6)


class ScriptedResolver:
    """Answers what `answers` holds at the end of the look-up, and waits for `gate` before it."""

    def __init__(self, clock: ManualClock) -> None:
        self.answers: dict[str, Identity | Exception] = {}
        self.asked: list[str] = []
        self.running = self.running_max = 0
        self.gate = Event()
        self.gate.set()
        self._clock = clock

    def resolve(self, did: str) -> Identity:
        self.asked.append(did)
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        at_us, answer = self._clock.now_us(), self.answers.get(did)
        try:
            self.gate.wait()
        finally:
            self.running -= 1
        match answer:
            case None:
                return gone(of=did, at_us=at_us)
            case Exception():
                raise answer
        return Identity(did, answer.state, answer.key, answer.pds_host, answer.handle, at_us)


class MemoryStore:
    """Keeps what is saved, and fails on demand."""

    def __init__(self) -> None:
        self.rows: dict[str, Identity] = {}
        self.loads = 0
        self.batches: list[int] = []
        self.error: LocalError | None = None
        self.save_error: LocalError | None = None
        self.gate = Event()
        self.gate.set()

    def load(self, did: str) -> Identity | None:
        self.loads += 1
        if self.error is not None:
            raise self.error
        return self.rows.get(did)

    def save(self, identities: Sequence[Identity]) -> None:
        self.gate.wait()
        if self.save_error is not None:
            raise self.save_error
        self.batches.append(len(identities))
        self.rows.update((identity.did, identity) for identity in identities)


def net_error() -> NetError:
    return NetError("timeout", "no end within 10 s")
