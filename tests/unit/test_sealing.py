"""A sealed template opens for who has the key, in its gallery, unaltered; else it names itself."""

import numpy as np
import numpy.typing as npt
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from kith.errors import InvalidTemplate, SealBroken, UnknownKey
from kith.keys import Key, KeyRing
from kith.sealing import OVERHEAD_BYTES, Fault, Sealer, row_width

DIMENSION = 8
OLD, NEW = Key(bytes(range(32))), Key(bytes(range(1, 33)))


def ring(*keys: Key) -> KeyRing:
    return KeyRing("door", keys)


def sealer(*keys: Key, epoch: str = "e1", dimension: int = DIMENSION) -> Sealer:
    return Sealer(ring(*(keys or (OLD,))), epoch, dimension)


def vectors(n: int, dimension: int = DIMENSION, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)


def altered(rows: bytes, at: int) -> bytes:
    return rows[:at] + bytes([rows[at] ^ 1]) + rows[at + 1 :]


class TestRoundTrip:
    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(0, 12),
        st.integers(1, 70),
        st.text("0123456789abcdef", max_size=32),
        st.binary(min_size=32, max_size=32),
    )
    def test_what_is_sealed_opens_again_bit_by_bit(self, count: int, dimension: int, epoch: str, secret: bytes) -> None:
        plain = np.frombuffer(
            np.random.default_rng(count).bytes(4 * dimension * count), np.float32
        ).reshape(count, dimension)  # fmt: skip
        seals = Sealer(ring(Key(secret)), epoch, dimension)

        rows = seals.seal_many(plain)

        assert len(rows) == count * (4 * dimension + 32) == count * seals.width
        opened = Sealer(ring(Key(secret)), epoch, dimension).open_many(rows)
        # Bytes, not numbers: among random bits some are NaN.
        assert opened.vectors.tobytes() == plain.tobytes()
        assert opened.faults == ()

    def test_a_row_is_key_id_nonce_ciphertext_tag_as_any_aes_gcm_makes_it(self) -> None:
        [vector] = vectors(1)
        row = sealer(NEW).seal_many(vector[None])

        plain = AESGCM(NEW.secret).decrypt(row[4:16], row[16:], b"kith template 1\0e1")

        assert row[:4] == NEW.key_id
        assert plain == vector.astype("<f4").tobytes()
        assert len(row) == row_width(DIMENSION) == 4 * DIMENSION + OVERHEAD_BYTES

    def test_any_float_array_is_sealed_as_float32_whatever_its_layout(self) -> None:
        plain = vectors(6)
        strided = np.asfortranarray(plain.astype(np.float64))[::2]

        opened = sealer().open_many(sealer().seal_many(strided))

        np.testing.assert_array_equal(opened.vectors, plain[::2])

    def test_rows_can_be_cut_apart_and_put_together_in_another_order(self) -> None:
        rows, width = sealer().seal_many(vectors(3)), row_width(DIMENSION)
        first, second, third = (rows[start : start + width] for start in range(0, len(rows), width))

        opened = sealer().open_many(third + first + second)

        np.testing.assert_array_equal(opened.vectors, vectors(3)[[2, 0, 1]])

    def test_nobody_is_sealed_to_nothing(self) -> None:
        assert sealer().seal_many(np.empty((0, DIMENSION), np.float32)) == b""
        assert sealer().open_many(b"").vectors.shape == (0, DIMENSION)

    def test_the_same_vector_sealed_again_looks_different_everywhere(self) -> None:
        plain, count = vectors(1), 400
        rows = sealer().seal_many(np.repeat(plain, count, 0))
        nonces = {rows[start + 4 : start + 16] for start in range(0, len(rows), row_width(DIMENSION))}
        bodies = {rows[start + 16 :][:16] for start in range(0, len(rows), row_width(DIMENSION))}

        assert len(nonces) == len(bodies) == count
        assert plain.tobytes()[:8] not in rows


class TestFaults:
    @settings(max_examples=80, deadline=None)
    @given(st.data(), st.integers(1, 6))
    def test_one_altered_bit_is_noticed_and_spoils_no_other_row(self, data: st.DataObject, n: int) -> None:
        rows = bytearray(sealer().seal_many(vectors(n)))
        at = data.draw(st.integers(0, len(rows) - 1))
        rows[at] ^= 1 << data.draw(st.integers(0, 7))
        struck, inside = divmod(at, row_width(DIMENSION))

        opened = sealer().open_many(rows)

        assert opened.faults == (Fault(struck, "unknown_key" if inside < 4 else "altered"),)
        expected = vectors(n)
        expected[struck] = 0
        np.testing.assert_array_equal(opened.vectors, expected)

    def test_a_template_of_another_gallery_or_another_key_does_not_open(self) -> None:
        rows = sealer().seal_many(vectors(2))

        assert [each.reason for each in sealer(epoch="e2").open_many(rows).faults] == ["altered"] * 2
        assert [each.reason for each in sealer(NEW).open_many(rows).faults] == ["unknown_key"] * 2

    def test_what_failed_is_zero_even_where_something_stood_before(self) -> None:
        rows = altered(sealer().seal_many(vectors(2)), 20)
        out = np.full((2, DIMENSION), 7, np.float32)

        opened = sealer().open_many(rows, out=out)

        assert opened.vectors is out
        assert not out[0].any()
        np.testing.assert_array_equal(out[1], vectors(2)[1])

    def test_a_free_slot_is_not_looked_at_and_reads_as_zero(self) -> None:
        rows = sealer().seal_many(vectors(1)) + bytes(row_width(DIMENSION))

        opened = sealer().open_many(rows, [True, False], np.ones((2, DIMENSION), np.float32))

        assert opened.faults == ()
        assert not opened.vectors[1].any()

    def test_who_needs_all_of_them_is_told_which_are_missing(self) -> None:
        rows = sealer().seal_many(vectors(9))
        assert sealer().open_many(rows).whole("gallery door").shape == (9, DIMENSION)

        with pytest.raises(SealBroken) as refused:
            sealer(NEW).open_many(rows).whole("gallery door, block 3")
        assert str(refused.value).startswith(
            "gallery door, block 3: 9 of 9 cannot be opened: row 0 (unknown_key), row 1"
        )
        assert str(refused.value).endswith("row 4 (unknown_key) and 4 more")

    def test_bytes_that_are_no_rows_are_refused(self) -> None:
        with pytest.raises(SealBroken, match="63 bytes are not 1 sealed templates of 64 bytes"):
            sealer().open_many(bytes(63), [True])
        with pytest.raises(InvalidTemplate, match=r"\(1, 7\) is not the shape of templates of 8 numbers"):
            sealer().seal_many(vectors(1, 7))
        with pytest.raises(InvalidTemplate, match="contiguous float32"):
            sealer().open_many(bytes(64), None, np.empty((1, DIMENSION)))  # type: ignore[arg-type]


class TestRotation:
    def test_the_newest_key_seals_and_all_open(self) -> None:
        before = sealer(OLD).seal_many(vectors(1))
        both = sealer(OLD, NEW)
        after = both.seal_many(vectors(1, seed=1))

        assert (before[:4], after[:4], both.sealing_key) == (OLD.key_id, NEW.key_id, NEW.key_id)
        opened = both.open_many(before + after + before).whole("both")
        np.testing.assert_array_equal(opened, np.concatenate([vectors(1), vectors(1, seed=1), vectors(1)]))

    def test_a_key_made_elsewhere_is_asked_for_once(self) -> None:
        rows = sealer(NEW).seal_many(vectors(3))
        asked: list[int] = []

        def renew() -> KeyRing:
            asked.append(1)
            return ring(OLD, NEW)

        behind = Sealer(ring(OLD), "e1", DIMENSION, renew=renew)
        assert behind.open_many(rows).faults == ()
        assert behind.open_many(rows).faults == ()
        assert (len(asked), behind.sealing_key) == (1, NEW.key_id)

    def test_a_key_that_nobody_has_any_more_stays_a_fault_or_says_so(self) -> None:
        rows = sealer(NEW).seal_many(vectors(1))

        def gone() -> KeyRing:
            raise UnknownKey("destroyed")

        assert Sealer(ring(OLD), "e1", DIMENSION, renew=lambda: ring(OLD)).open_many(rows).faults
        with pytest.raises(UnknownKey, match="destroyed"):
            Sealer(ring(OLD), "e1", DIMENSION, renew=gone).open_many(rows)


def test_no_way_of_printing_a_sealer_shows_a_key() -> None:
    shown = f"{sealer()!r} {sealer()}"
    assert OLD.secret.hex() not in shown
    assert repr(OLD.secret)[2:10] not in shown
    assert "door" in shown
