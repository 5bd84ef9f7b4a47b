"""Ogg streams with a fixed serial number, so that equal audio is equal bytes.

An encoder gives each stream a random serial number, which stands in the header of every page and enters the page's
checksum: a CRC of the whole page with the generator x^32 + x^26 + ... + 1 (0x04C11DB7), most significant bit first and
without inversions. Such a CRC is linear, so the checksum of a page with another serial number is the old one plus the
CRC of the difference, which is zero except for four bytes: a monomial times a polynomial, and no page is read whole.
Source: RFC 3533.
"""

from pathlib import Path

_POLYNOMIAL = 0x104C11DB7
_SERIAL, _CHECKSUM, _SEGMENTS, _HEADER = 14, 22, 26, 27  # offsets in a page's header, and its length without segments


def fix_serial(path: Path, serial: int = 0) -> None:
    """Give the only stream of an Ogg file this serial number, in place.

    Args:
        path: of a complete file, as an encoder wrote it.
        serial: of 32 bits.
    """
    with path.open("r+b") as file:
        start = 0
        while len(header := file.read(_HEADER)) == _HEADER:
            segments = file.read(header[_SEGMENTS])
            size = _HEADER + len(segments) + sum(segments)
            change = (int.from_bytes(header[_SERIAL : _SERIAL + 4], "little") ^ serial).to_bytes(4, "little")
            behind = 8 * (size - _SERIAL - 4)  # bits of the page after the serial number
            difference = _multiply(_reduce(int.from_bytes(change, "big") << 32), _power(behind))
            checksum = int.from_bytes(header[_CHECKSUM : _CHECKSUM + 4], "little") ^ difference
            for offset, value in ((_SERIAL, serial), (_CHECKSUM, checksum)):
                file.seek(start + offset)
                file.write(value.to_bytes(4, "little"))
            start += size
            file.seek(start)


def _reduce(polynomial: int) -> int:
    """A polynomial over GF(2), as bits, modulo the generator."""
    while (excess := polynomial.bit_length() - 33) >= 0:
        polynomial ^= _POLYNOMIAL << excess
    return polynomial


def _multiply(one: int, other: int) -> int:
    """The product of two polynomials modulo the generator."""
    product = 0
    for bit in range(other.bit_length()):
        if other >> bit & 1:
            product ^= one << bit
    return _reduce(product)


def _power(exponent: int) -> int:
    """x^exponent modulo the generator."""
    result, square = 1, 2
    while exponent:
        if exponent & 1:
            result = _multiply(result, square)
        square, exponent = _multiply(square, square), exponent >> 1
    return result
