"""Edwards25519 in plain arithmetic: makes the keys and signatures that an honest library never makes."""

from __future__ import annotations

from hashlib import sha512

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
IDENTITY = (0, 1)
Point = tuple[int, int]


def recover_x(y: int, sign: int) -> int | None:
    """The x of that y and sign; None where y is not on the curve."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return x if x & 1 == sign else -x % P


def add(a: Point, b: Point) -> Point:
    k = D * a[0] * b[0] * a[1] * b[1] % P
    return (
        (a[0] * b[1] + b[0] * a[1]) * pow(1 + k, -1, P) % P,
        (a[1] * b[1] + a[0] * b[0]) * pow(1 - k, -1, P) % P,
    )


def multiply(n: int, point: Point) -> Point:
    result = IDENTITY
    while n:
        if n & 1:
            result = add(result, point)
        point = add(point, point)
        n >>= 1
    return result


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def small_order_points() -> list[Point]:
    """The eight points whose order divides eight, from one of order eight."""
    for y in range(2, 100):
        if (x := recover_x(y, 0)) is not None:
            generator = multiply(ORDER, (x, y))
            if multiply(4, generator) != IDENTITY:
                return [multiply(n, generator) for n in range(8)]
    raise AssertionError("no point of order eight below y = 100")


def small_order_encodings() -> list[bytes]:
    """Every 32 bytes that decode, leniently, to a point of small order."""
    ys = {y for point in small_order_points() for y in (point[1], point[1] + P) if y < 2**255}
    return sorted((y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1))


def small_order_us() -> list[int]:
    """The u of every X25519 key of small order: on the curve by (1 + y) / (1 - y), and -1 on its twist."""
    ys = {point[1] for point in small_order_points()} - {1}
    return sorted({(1 + y) * pow(1 - y, -1, P) % P for y in ys} | {1, P - 1})


def challenge(r: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(r + public + message).digest(), "little") % ORDER


def secret_scalar(seed: bytes) -> int:
    """The scalar that RFC 8032 makes of a seed."""
    clamped = bytearray(sha512(seed).digest()[:32])
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    return int.from_bytes(clamped, "little")
