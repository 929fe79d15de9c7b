//! Numbers as text: floats in the fewest digits that read back as the same float of the same
//! width, integers two words of digits at a time.
//!
//! The floats are Schubfach's (Raffaello Giulietti, "The Schubfach way to render doubles"): three
//! products with a power of ten tell which of the few candidates lies within the interval that
//! rounds to the float. `FP16` and `BF16` are written as the `FP32` of the same value: callers read
//! them into wider floats, and fewer digits, though enough to come back, would be another number
//! there (65504 would read as 65500).

use std::hint::select_unpredictable;

use half::{bf16, f16};

/// A float as `significand × 2^exponent`, with what the interval around it depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binary {
    negative: bool,
    significand: u32,
    exponent: i32,
    /// Whether the float below is only half as far away: the significand is a power of two.
    lower_is_closer: bool,
}

/// A decimal `digits × 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    digits: u32,
    exponent: i32,
}

/// A float of up to 32 bits that is written as JSON.
pub(super) trait ShortFloat: Copy {
    /// Its parts; `None` when it is not finite.
    fn parts(self) -> Option<Binary>;
}

/// How many bits of a single are its fraction.
pub(super) const FRACTION_BITS: i32 = 23;

impl ShortFloat for f32 {
    #[inline(always)]
    fn parts(self) -> Option<Binary> {
        const FRACTION: u32 = (1 << FRACTION_BITS) - 1;
        const EXPONENT: u32 = 0xff;
        const BIAS: i32 = 127;
        let bits = self.to_bits();
        let fraction = bits & FRACTION;
        let exponent = bits >> FRACTION_BITS & EXPONENT;
        if exponent == EXPONENT {
            return None;
        }
        let hidden = if exponent == 0 { 0 } else { FRACTION + 1 };
        Some(Binary {
            negative: bits >> 31 == 1,
            significand: fraction | hidden,
            exponent: i32::try_from(exponent.max(1)).unwrap_or_default() - BIAS - FRACTION_BITS,
            lower_is_closer: fraction == 0 && exponent > 1,
        })
    }
}

impl ShortFloat for f16 {
    #[inline(always)]
    fn parts(self) -> Option<Binary> {
        f32::from(self).parts()
    }
}

impl ShortFloat for bf16 {
    #[inline(always)]
    fn parts(self) -> Option<Binary> {
        f32::from(self).parts()
    }
}

/// The least power of ten in [`POWERS`].
const LEAST_POWER: i32 = -38;

/// `10^k` for k from -38 to 46, each scaled to 64 bits and rounded up.
const POWERS: [u64; 85] = [
    0xd9c7dced53c72256,
    0x881cea14545c7576,
    0xaa242499697392d3,
    0xd4ad2dbfc3d07788,
    0x84ec3c97da624ab5,
    0xa6274bbdd0fadd62,
    0xcfb11ead453994bb,
    0x81ceb32c4b43fcf5,
    0xa2425ff75e14fc32,
    0xcad2f7f5359a3b3f,
    0xfd87b5f28300ca0e,
    0x9e74d1b791e07e49,
    0xc612062576589ddb,
    0xf79687aed3eec552,
    0x9abe14cd44753b53,
    0xc16d9a0095928a28,
    0xf1c90080baf72cb2,
    0x971da05074da7bef,
    0xbce5086492111aeb,
    0xec1e4a7db69561a6,
    0x9392ee8e921d5d08,
    0xb877aa3236a4b44a,
    0xe69594bec44de15c,
    0x901d7cf73ab0acda,
    0xb424dc35095cd810,
    0xe12e13424bb40e14,
    0x8cbccc096f5088cc,
    0xafebff0bcb24aaff,
    0xdbe6fecebdedd5bf,
    0x89705f4136b4a598,
    0xabcc77118461cefd,
    0xd6bf94d5e57a42bd,
    0x8637bd05af6c69b6,
    0xa7c5ac471b478424,
    0xd1b71758e219652c,
    0x83126e978d4fdf3c,
    0xa3d70a3d70a3d70b,
    0xcccccccccccccccd,
    0x8000000000000000,
    0xa000000000000000,
    0xc800000000000000,
    0xfa00000000000000,
    0x9c40000000000000,
    0xc350000000000000,
    0xf424000000000000,
    0x9896800000000000,
    0xbebc200000000000,
    0xee6b280000000000,
    0x9502f90000000000,
    0xba43b74000000000,
    0xe8d4a51000000000,
    0x9184e72a00000000,
    0xb5e620f480000000,
    0xe35fa931a0000000,
    0x8e1bc9bf04000000,
    0xb1a2bc2ec5000000,
    0xde0b6b3a76400000,
    0x8ac7230489e80000,
    0xad78ebc5ac620000,
    0xd8d726b7177a8000,
    0x878678326eac9000,
    0xa968163f0a57b400,
    0xd3c21bcecceda100,
    0x84595161401484a0,
    0xa56fa5b99019a5c8,
    0xcecb8f27f4200f3a,
    0x813f3978f8940985,
    0xa18f07d736b90be6,
    0xc9f2c9cd04674edf,
    0xfc6f7c4045812297,
    0x9dc5ada82b70b59e,
    0xc5371912364ce306,
    0xf684df56c3e01bc7,
    0x9a130b963a6c115d,
    0xc097ce7bc90715b4,
    0xf0bdc21abb48db21,
    0x96769950b50d88f5,
    0xbc143fa4e250eb32,
    0xeb194f8e1ae525fe,
    0x92efd1b8d0cf37bf,
    0xb7abc627050305ae,
    0xe596b7b0c643c71a,
    0x8f7e32ce7bea5c70,
    0xb35dbf821ae4f38c,
    0xe0352f62a19e306f,
];

/// A power of ten from [`POWERS`]; zero for one that is not there.
#[expect(
    clippy::indexing_slicing,
    reason = "`get` is not const, and the index is looked at"
)]
pub(super) const fn power_of_ten(k: i32) -> u64 {
    let index = k - LEAST_POWER;
    if index < 0 || index as usize >= POWERS.len() {
        return 0;
    }
    POWERS[index as usize]
}

/// `floor(log2(10^k))`, for |k| up to a thousand or so.
pub(super) const fn floor_log2_pow10(k: i32) -> i32 {
    (k * 1_741_647) >> 19
}

/// The shortest decimal that rounds to a float, and of those the closest. Not for zero.
#[inline(always)]
fn shortest(float: Binary) -> Decimal {
    let is_even = float.significand & 1 == 0;
    let centre = 4 * float.significand;
    let below = centre - if float.lower_is_closer { 1 } else { 2 };
    let above = centre + 2;
    // floor(log10) of the interval's width, whose lower half is narrower where that is closer.
    let correction = if float.lower_is_closer { 524_031 } else { 0 };
    let k = (float.exponent * 1_262_611 - correction) >> 22;
    let shift = float.exponent + floor_log2_pow10(-k) + 1;
    let power = power_of_ten(-k);
    let below = round_to_odd(power, below << shift);
    let value = round_to_odd(power, centre << shift);
    let above = round_to_odd(power, above << shift);
    // The ends of the interval round to the float only if that is even.
    let lower = below + u32::from(!is_even);
    let upper = above - u32::from(!is_even);
    // Everything from here on is selects, no branches: which candidate wins is as good as random.
    let digits = value / 4;
    let tens = digits / 10;
    let down_inside = lower <= 40 * tens;
    let up_inside = 40 * tens + 40 <= upper;
    let shorter = 10 * (tens + u32::from(up_inside));
    let is_shorter = (down_inside != up_inside) & (digits >= 10);
    let down_inside = lower <= 4 * digits;
    let up_inside = 4 * digits + 4 <= upper;
    let middle = 4 * digits + 2;
    let is_nearer = (value > middle) | ((value == middle) & (digits & 1 == 1));
    let up = select_unpredictable(down_inside != up_inside, up_inside, is_nearer);
    let closest = digits + u32::from(up);
    Decimal {
        digits: select_unpredictable(is_shorter, shorter, closest),
        exponent: k,
    }
}

/// The upper 32 bits of a product of 96, the last one set if anything below was.
#[inline(always)]
fn round_to_odd(power: u64, value: u32) -> u32 {
    let product = u128::from(power) * u128::from(value);
    let high = (product >> 64) as u32;
    let low = (product >> 32) as u32;
    high | u32::from(low > 1)
}

/// How much room any one number may take, the comma behind it and a word too much included.
///
/// Text is put together in an array of at least this size before it goes to the body: a place that
/// is not reallocated, written to by whole words, with the position held in a register.
pub(super) const ROOM: usize = 48;

/// Puts the lowest bytes of a word, eight at most; returns where they end.
#[inline(always)]
pub(super) fn put_word<const N: usize>(
    scratch: &mut [u8; N],
    at: usize,
    word: u64,
    length: u32,
) -> usize {
    // Always eight bytes, which is a plain store; what is too much is written over.
    if let Some(place) = scratch.get_mut(at..).and_then(|s| s.first_chunk_mut()) {
        *place = word.to_le_bytes();
    }
    at + length as usize
}

/// Puts a float; `None` if it is not finite.
#[inline(always)]
pub(super) fn put_short_float<const N: usize, F: ShortFloat>(
    scratch: &mut [u8; N],
    at: usize,
    value: F,
) -> Option<usize> {
    let float = value.parts()?;
    if float.significand == 0 {
        let (text, length) = match float.negative {
            true => (*b"-0.0    ", 4),
            false => (*b"0.0     ", 3),
        };
        return Some(put_word(scratch, at, u64::from_le_bytes(text), length));
    }
    Some(put_decimal(scratch, at, float.negative, shortest(float)))
}

/// Puts a double; `None` if it is not finite.
#[inline(always)]
pub(super) fn put_double<const N: usize>(
    scratch: &mut [u8; N],
    at: usize,
    value: f64,
) -> Option<usize> {
    if !value.is_finite() {
        return None;
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let end = at + text.len();
    scratch.get_mut(at..end)?.copy_from_slice(text);
    Some(end)
}

/// Puts a decimal: `0.00012`, `1.5`, `150.0`, or with an exponent where that is shorter.
#[inline(always)]
fn put_decimal<const N: usize>(
    scratch: &mut [u8; N],
    mut at: usize,
    negative: bool,
    decimal: Decimal,
) -> usize {
    let text = Nine::new(decimal);
    at = put_word(scratch, at, u64::from(b'-'), u32::from(negative));
    match text.leading {
        // `0.000d` and then the other digits.
        -4..=-1 => {
            let before = 2 + (-text.leading - 1) as u32;
            let word = LEADING_ZEROS & low_bytes(before) | text.first << (8 * before);
            at = put_word(scratch, at, word, before + 1);
            put_word(scratch, at, text.rest | ZEROS, text.length - 1)
        }
        // `d`, the other digits before the point, the point, and those behind it.
        0..=7 => {
            let before = text.leading as u32;
            let behind = (text.length.max(before + 2) - 1) - before;
            at = put_word(scratch, at, text.first, 1);
            at = put_word(scratch, at, text.rest | ZEROS, before);
            at = put_word(scratch, at, u64::from(b'.'), 1);
            put_word(scratch, at, (text.rest >> (8 * before)) | ZEROS, behind)
        }
        8..=15 => {
            at = put_word(scratch, at, text.first, 1);
            at = put_word(scratch, at, text.rest | ZEROS, 8);
            at = put_word(scratch, at, ZEROS, text.leading as u32 - 8);
            put_word(scratch, at, u64::from_le_bytes(*b".0      "), 2)
        }
        _ => put_scientific(scratch, at, text),
    }
}

/// Puts `1e-7` or `1.5e20`.
#[cold]
fn put_scientific<const N: usize>(scratch: &mut [u8; N], mut at: usize, text: Nine) -> usize {
    at = put_word(scratch, at, text.first, 1);
    if text.length > 1 {
        at = put_word(scratch, at, u64::from(b'.'), 1);
        at = put_word(scratch, at, text.rest | ZEROS, text.length - 1);
    }
    at = put_word(scratch, at, u64::from(b'e'), 1);
    put_signed(scratch, at, i64::from(text.leading))
}

/// Nine digits, the first of them not zero; those that are not needed are zeros at the end.
#[derive(Debug, Clone, Copy)]
struct Nine {
    /// The first digit as a character.
    first: u64,
    /// The other eight as numbers, the first of them in the lowest byte.
    rest: u64,
    /// How many digits are needed.
    length: u32,
    /// The power of ten of the first.
    leading: i32,
}

impl Nine {
    #[inline(always)]
    fn new(decimal: Decimal) -> Self {
        let Decimal {
            mut digits,
            mut exponent,
        } = decimal;
        // One to nine digits become nine. A single has seven at least unless it is subnormal; how
        // many it has is as good as random, so no branch hangs on it.
        while digits < 1_000_000 {
            digits *= 1000;
            exponent -= 3;
        }
        let is_seven = digits < 10_000_000;
        let is_less = digits < 100_000_000;
        let eight = select_unpredictable(is_seven, digits.wrapping_mul(10), digits);
        exponent -= i32::from(is_seven) + i32::from(is_less);
        digits = select_unpredictable(is_less, eight.wrapping_mul(10), digits);
        let rest = eight_digits(digits % 100_000_000);
        Self {
            first: u64::from(digits / 100_000_000) + u64::from(b'0'),
            rest,
            length: 9 - rest.leading_zeros() / 8,
            leading: exponent + 8,
        }
    }
}

/// `0.000` and more zeros as text in a word, the first character in the lowest byte.
const LEADING_ZEROS: u64 = u64::from_le_bytes(*b"0.000000");

/// Eight characters `0`.
pub(super) const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);

/// A mask of so many bytes, fewer than eight.
#[inline(always)]
const fn low_bytes(count: u32) -> u64 {
    (1 << (8 * count)) - 1
}

/// The eight digits of a number below 10^8 (0 to 9, not their characters), first lowest.
#[inline(always)]
pub(super) fn eight_digits(value: u32) -> u64 {
    // Two fours, four pairs, eight digits: each step divides all lanes at once.
    let fours = u64::from(value / 10_000) | u64::from(value % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - 10 * tens) << 8
}

/// Puts an unsigned integer.
#[inline(always)]
pub(super) fn put_integer<const N: usize>(
    scratch: &mut [u8; N],
    mut at: usize,
    value: u64,
) -> usize {
    const WORD: u64 = 100_000_000;
    if value >= WORD * WORD {
        at = put_leading(scratch, at, value / (WORD * WORD));
        let middle = eight_digits((value / WORD % WORD) as u32);
        at = put_word(scratch, at, middle | ZEROS, 8);
    } else if value >= WORD {
        at = put_leading(scratch, at, value / WORD);
    } else {
        return put_leading(scratch, at, value);
    }
    let last = eight_digits((value % WORD) as u32);
    put_word(scratch, at, last | ZEROS, 8)
}

/// Puts a signed integer.
#[inline(always)]
pub(super) fn put_signed<const N: usize>(
    scratch: &mut [u8; N],
    mut at: usize,
    value: i64,
) -> usize {
    at = put_word(scratch, at, u64::from(b'-'), u32::from(value < 0));
    put_integer(scratch, at, value.unsigned_abs())
}

/// Puts a number below 10^8 without leading zeros.
#[inline(always)]
fn put_leading<const N: usize>(scratch: &mut [u8; N], at: usize, value: u64) -> usize {
    let digits = eight_digits(value as u32);
    // The last digit is written even if it is zero.
    let zeros = (digits | 1 << 63).trailing_zeros() / 8;
    put_word(scratch, at, (digits | ZEROS) >> (8 * zeros), 8 - zeros)
}
