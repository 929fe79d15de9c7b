//! Many bytes of a text at once: which of them are digits, and what sixteen digits are worth.

use wide::{i8x16, i16x8};

/// How many bytes are looked at together.
pub(super) const WINDOW: usize = 64;

/// One bit a byte, the first lowest: those that are no decimal digits.
#[inline(always)]
pub(super) fn no_digits(window: &[u8; WINDOW]) -> u64 {
    let lanes: [[u8; 16]; WINDOW / 16] = bytemuck::must_cast(*window);
    let [a, b, c, d] = lanes.map(|lane| {
        // Digits, and they alone, come to lie above all others as signed bytes.
        let moved = i8x16::new(bytemuck::must_cast(lane)) + i8x16::splat(0x7f - b'9' as i8);
        u64::from(moved.simd_gt(i8x16::splat(0x7f - 10)).to_bitmask() as u16)
    });
    !(a | b << 16 | c << 32 | d << 48)
}

/// The first digits of a text, as many as are said and 16 at most, as a number of sixteen digits:
/// what lacks is zeros at the end.
#[inline(always)]
pub(super) fn sixteen_digits(text: &[u8; 16], count: usize) -> u64 {
    /// A character's low four bits are its digit; behind the sixteenth place there are none.
    const DIGITS: [u8; 32] = {
        let mut mask = [0; 32];
        let (first, _) = mask.split_at_mut(16);
        first.copy_from_slice(&[0x0f; 16]);
        mask
    };
    let mask = DIGITS
        .get(16_usize.saturating_sub(count)..)
        .and_then(|mask| mask.first_chunk::<16>());
    let mask = i16x8::new(bytemuck::must_cast(*mask.unwrap_or(&[0; 16])));
    let digits = i16x8::new(bytemuck::must_cast(*text)) & mask;
    let tens = (digits & i16x8::splat(0xff)) * i16x8::splat(10);
    let pairs: i16x8 = tens + (digits >> 8_i32);
    let fours = pairs.dot(i16x8::new([100, 1, 100, 1, 100, 1, 100, 1]));
    let [high, low]: [u64; 2] = bytemuck::must_cast(fours);
    eight(high) * 100_000_000 + eight(low)
}

/// Two numbers of four digits, the first in the lower half, as one of eight.
#[inline(always)]
fn eight(fours: u64) -> u64 {
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_but_a_digit_is_marked_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..WINDOW {
                let mut window = [b'5'; WINDOW];
                window[place] = byte;
                let expected = u64::from(!byte.is_ascii_digit()) << place;
                assert_eq!(no_digits(&window), expected, "{byte} at {place}");
            }
        }
        assert_eq!(no_digits(&[0; WINDOW]), u64::MAX);
        assert_eq!(no_digits(&[0xff; WINDOW]), u64::MAX);
    }

    #[test]
    fn sixteen_digits_are_read_as_the_standard_library_reads_them() {
        let mut state = 1_u64;
        for _ in 0..10_000 {
            let text = [0; 16].map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                b'0' + (state >> 33) as u8 % 10
            });
            let expected: u64 = std::str::from_utf8(&text).unwrap().parse().unwrap();
            assert_eq!(sixteen_digits(&text, 16), expected);
        }
    }

    #[test]
    fn digits_that_are_not_counted_are_zeros() {
        let text = b"9876543210987654";
        assert_eq!(sixteen_digits(text, 0), 0);
        assert_eq!(sixteen_digits(text, 1), 9_000_000_000_000_000);
        assert_eq!(
            sixteen_digits(b"12,345678, 0.123", 2),
            1_200_000_000_000_000
        );
        assert_eq!(sixteen_digits(text, 16), 9_876_543_210_987_654);
    }
}
