//! JSON numbers into exactly the element they stand for.
//!
//! Floats are rounded once, to nearest-even, to the width of the datatype: rounding to a wider one
//! first and then again can end one unit off. Integers are decided in decimal, so `1.0e19` is
//! exact and `0.99999999999999999999` is a fraction.

use std::cmp::Ordering;

use half::{bf16, f16};

use super::exact::Digits;
use super::runs;
use super::scanner::{Fault, token};

/// Why a number, or what stands in its place, is no element.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal<'a> {
    /// It is not JSON.
    Syntax(Fault<'a>),
    /// It is JSON, but no number (or no boolean, or no string).
    Kind,
    /// It is not whole.
    Fraction,
    /// It is beyond what the datatype holds.
    Range,
}

/// An element that is read from JSON.
pub(super) trait Number: Sized {
    /// Reads one at the start of `rest`; returns it and what follows.
    fn read(rest: &[u8]) -> Result<(Self, &[u8]), Refusal<'_>>;

    /// Reads at most so many that are written plainly, each with its comma, while that is quick;
    /// returns what follows, at whose beginning another is due.
    #[inline(always)]
    fn read_run<'a>(rest: &'a [u8], _most: usize, _out: &mut Vec<Self>) -> &'a [u8] {
        rest
    }
}

/// A number as it is written: `±mantissa × 10^exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal<'a> {
    text: &'a [u8],
    negative: bool,
    /// Its significant digits; meaningless unless `exact`.
    mantissa: u64,
    /// Whether the digits fit the mantissa.
    exact: bool,
    exponent: i64,
    /// Whether it is written without point and exponent.
    plain: bool,
}

/// Most decimal digits that always fit a `u64`.
const MANTISSA_DIGITS: usize = 19;

/// Reads the digits, sign, point and exponent of a number.
#[inline(always)]
pub(super) fn scan(rest: &[u8]) -> Result<(Decimal<'_>, &[u8]), Fault<'_>> {
    // Signs are as good as random, so no branch hangs on one.
    let negative = rest.first() == Some(&b'-');
    let unsigned = rest.get(usize::from(negative)..).unwrap_or_default();
    let (mut mantissa, after_integer) = match unsigned {
        // The usual number of a normalised tensor, without a search for the point.
        [digit @ b'0'..=b'9', after @ ..] if after.first() == Some(&b'.') => {
            (u64::from(digit - b'0'), after)
        }
        [b'0', after @ ..] => (0, after),
        _ => digits(unsigned, 0),
    };
    let integer_digits = unsigned.len() - after_integer.len();
    if integer_digits == 0 {
        return Err(Fault::new(unsigned, "a number needs a digit here"));
    }
    let mut after = after_integer;
    let mut fraction_digits = 0;
    let mut plain = true;
    if let Some((b'.', fraction)) = after.split_first() {
        (mantissa, after) = digits(fraction, mantissa);
        fraction_digits = fraction.len() - after.len();
        if fraction_digits == 0 {
            return Err(Fault::new(after, "a digit must follow the point"));
        }
        plain = false;
    }
    let mut exponent = -(fraction_digits as i64);
    match after.first() {
        Some(b'e' | b'E') => {
            let (written, rest) = read_exponent(after)?;
            exponent = exponent.saturating_add(written);
            after = rest;
            plain = false;
        }
        Some(b'0'..=b'9') => return Err(Fault::new(unsigned, LEADING_ZERO)),
        _ => {}
    }
    let text = rest.get(..rest.len() - after.len()).unwrap_or_default();
    let mut significant = integer_digits + fraction_digits;
    if significant > MANTISSA_DIGITS {
        significant -= leading_zeros(unsigned);
    }
    let decimal = Decimal {
        text,
        negative,
        mantissa,
        exact: significant <= MANTISSA_DIGITS,
        exponent,
        plain,
    };
    Ok((decimal, after))
}

const LEADING_ZERO: &str = "a number must not begin with a zero";

/// How many digits before the first that counts.
#[cold]
fn leading_zeros(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| matches!(byte, b'0' | b'.'));
    zeros.filter(|byte| **byte == b'0').count()
}

#[cold]
pub(super) fn read_exponent(at: &[u8]) -> Result<(i64, &[u8]), Fault<'_>> {
    let unsigned = at.get(1..).unwrap_or_default();
    let (negative, mut rest) = match unsigned.split_first() {
        Some((b'-', after)) => (true, after),
        Some((b'+', after)) => (false, after),
        _ => (false, unsigned),
    };
    let start = rest;
    let mut exponent = 0_i64;
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        exponent = exponent
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'));
        rest = after;
    }
    if rest.len() == start.len() {
        return Err(Fault::new(rest, "an exponent needs a digit here"));
    }
    Ok((if negative { -exponent } else { exponent }, rest))
}

/// Powers of ten that a `u64` multiplies eight digits or fewer by.
const SHIFTS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Appends the leading decimal digits of `rest` to a mantissa, which wraps when they are too many.
#[inline(always)]
fn digits(mut rest: &[u8], mut mantissa: u64) -> (u64, &[u8]) {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
    const ABOVE_NINE: u64 = u64::from_ne_bytes([0x76; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let chunk = u64::from_le_bytes(*chunk) ^ ZEROS;
        // The high bit of each byte that is no digit; a carry can only reach bytes after one.
        let others = (chunk.wrapping_add(ABOVE_NINE) | chunk) & HIGH;
        if others == 0 {
            mantissa = mantissa
                .wrapping_mul(100_000_000)
                .wrapping_add(eight_digits(chunk));
            rest = after;
            continue;
        }
        let count = others.trailing_zeros() as usize / 8;
        // The digits move to the end of the word, zeros before them. Two shifts, as one by 64
        // (no digit at all) is none.
        let aligned = (chunk << 8) << (56 - 8 * count);
        let shift = SHIFTS.get(count).copied().unwrap_or_default();
        mantissa = mantissa
            .wrapping_mul(shift)
            .wrapping_add(eight_digits(aligned));
        return (mantissa, rest.get(count..).unwrap_or_default());
    }
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        mantissa = mantissa
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'));
        rest = after;
    }
    (mantissa, rest)
}

/// The value of eight digits (0 to 9, not their characters), the first in the lowest byte.
#[inline(always)]
pub(super) fn eight_digits(chunk: u64) -> u64 {
    let pairs = chunk.wrapping_mul(10).wrapping_add(chunk >> 8);
    let high = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let low = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    high.wrapping_add(low) >> 32
}

// === floats ===

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

impl Decimal<'_> {
    /// The mantissa scaled by the exponent in double arithmetic: two roundings at most, and at
    /// most one where the mantissa is below 2^53. `None` where a power of ten is not exact.
    #[inline(always)]
    fn scaled(&self) -> Option<f64> {
        if !self.exact {
            return None;
        }
        let power = usize::try_from(self.exponent.unsigned_abs()).ok()?;
        let power = EXACT_POWERS.get(power)?;
        let mantissa = self.mantissa as f64;
        Some(if self.exponent < 0 {
            mantissa / power
        } else {
            mantissa * power
        })
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        match self.scaled() {
            Some(value) if self.mantissa <= 1 << 53 => with_sign(value, self.negative),
            _ => self.parse(),
        }
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        if let Some(value) = self.scaled() {
            // Within two units of the exact value, so it rounds as that does unless it lies
            // that close to the middle between two floats. Nothing here is subnormal: it is zero
            // or at least 1e-22.
            let beyond_middle = (value.to_bits() & 0x1fff_ffff).wrapping_sub(0x1000_0000 - 4);
            if beyond_middle > 8 && value < f64::from(f32::MAX) {
                return with_sign(value, self.negative) as f32;
            }
        }
        self.parse()
    }

    /// The text by the standard library, which rounds correctly at any length.
    #[cold]
    fn parse<T: std::str::FromStr + From<f32>>(&self) -> T {
        let text = std::str::from_utf8(self.text).unwrap_or_default();
        text.parse().unwrap_or(T::from(f32::NAN))
    }

    /// A half float: the nearest double, to odd in single precision, to nearest-even in half.
    ///
    /// Rounding to odd keeps what the second rounding has to know. The first one loses only on
    /// which side of a double the number lies, and that matters only in the middle between two
    /// halves, which is itself a single: there the decimal text decides.
    #[inline(always)]
    fn to_half<T: Copy>(self, from_f32: fn(f32) -> T, to_f64: fn(T) -> f64) -> T {
        let value = self.to_f64();
        if f64::from(value as f32) != value {
            return from_f32(round_to_odd(value));
        }
        let nearest = from_f32(value as f32);
        let away = value - to_f64(nearest);
        if away == 0.0 || !is_middle(value, away, from_f32, to_f64) {
            return nearest;
        }
        let value = match self.compare_magnitude(value.abs()) {
            Ordering::Equal => value,
            Ordering::Less if value > 0.0 => value.next_down(),
            Ordering::Greater if value < 0.0 => value.next_down(),
            _ => value.next_up(),
        };
        from_f32(round_to_odd(value))
    }

    /// How the magnitude of the text compares, exactly, with a positive single.
    #[cold]
    fn compare_magnitude(&self, value: f64) -> Ordering {
        let power = usize::try_from(self.exponent.unsigned_abs());
        let power = power.ok().and_then(|power| EXACT_POWERS.get(power));
        if let (Some(power), true) = (power, self.exact && self.mantissa <= 1 << 53) {
            // One rounding, of an exact difference, so its sign is exact.
            let mantissa = self.mantissa as f64;
            let difference = if self.exponent < 0 {
                -value.mul_add(*power, -mantissa)
            } else {
                mantissa.mul_add(*power, -value)
            };
            // Not by `total_cmp`, to which a negative zero is less.
            return difference.partial_cmp(&0.0).unwrap_or(Ordering::Equal);
        }
        // 112 digits hold any single exactly.
        let exact = format!("{value:.120e}");
        let (ours, theirs) = (Digits::new(self.text), Digits::new(exact.as_bytes()));
        ours.compare(&theirs)
    }
}

/// Whether a double lies in the middle between two halves: as far beyond it as the nearest is
/// away there is another, or infinity would be.
#[cold]
fn is_middle<T: Copy>(value: f64, away: f64, from_f32: fn(f32) -> T, to_f64: fn(T) -> f64) -> bool {
    let mirrored = value + away;
    mirrored.is_infinite() || to_f64(from_f32(mirrored as f32)) == mirrored
}

#[inline(always)]
fn with_sign(value: f64, negative: bool) -> f64 {
    f64::from_bits(value.to_bits() ^ u64::from(negative) << 63)
}

/// The nearest single towards zero, its last bit set if that was not exact.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) == value || nearest.is_nan() {
        return nearest;
    }
    let beyond = f64::from(nearest).abs() > value.abs();
    f32::from_bits((nearest.to_bits() - u32::from(beyond)) | 1)
}

/// `NaN`, `Infinity` and `-Infinity`, which JSON does not know and Python writes.
#[cold]
fn read_non_finite(rest: &[u8]) -> Result<(f64, &[u8]), Refusal<'_>> {
    let word = token(rest);
    let value = match word {
        b"NaN" => f64::NAN,
        b"Infinity" => f64::INFINITY,
        b"-Infinity" => f64::NEG_INFINITY,
        _ => return Err(not_a_number(rest)),
    };
    Ok((value, rest.get(word.len()..).unwrap_or_default()))
}

/// Tells a value of another kind from what is no JSON.
#[cold]
pub(super) fn not_a_number(rest: &[u8]) -> Refusal<'_> {
    match rest.first() {
        Some(b'"' | b'[' | b'{') => return Refusal::Kind,
        Some(b'-') => {}
        _ if matches!(
            token(rest),
            b"true" | b"false" | b"null" | b"NaN" | b"Infinity"
        ) =>
        {
            return Refusal::Kind;
        }
        _ => return Refusal::Syntax(Fault::new(rest, "expected a value")),
    }
    match token(rest) {
        b"-Infinity" => Refusal::Kind,
        _ => Refusal::Syntax(Fault::new(rest, "a number needs a digit after '-'")),
    }
}

/// Whether a number that JSON knows begins here.
#[inline(always)]
fn begins_number(rest: &[u8]) -> bool {
    let negative = rest.first() == Some(&b'-');
    let first = rest.get(usize::from(negative));
    first.is_some_and(u8::is_ascii_digit)
}

macro_rules! float_numbers {
    ($($float:ty: $convert:expr $(, $run:path)?;)*) => {
        $(impl Number for $float {
            #[inline(always)]
            fn read(rest: &[u8]) -> Result<(Self, &[u8]), Refusal<'_>> {
                let convert: fn(Decimal<'_>) -> Self = $convert;
                if !begins_number(rest) {
                    let (value, rest) = read_non_finite(rest)?;
                    return Ok((<$float>::from_f32(value as f32), rest));
                }
                let (decimal, after) = scan(rest).map_err(Refusal::Syntax)?;
                let value = convert(decimal);
                if value.is_infinite() {
                    return Err(Refusal::Range);
                }
                Ok((value, after))
            }

            $(
                #[inline(always)]
                fn read_run<'a>(rest: &'a [u8], most: usize, out: &mut Vec<Self>) -> &'a [u8] {
                    $run(rest, most, out)
                }
            )?
        })*
    };
}

/// So that all four are made from a single alike.
trait FromSingle {
    fn from_f32(value: f32) -> Self;
}

impl FromSingle for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl FromSingle for f64 {
    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }
}

float_numbers! {
    f32: |decimal| decimal.to_f32(), runs::read;
    f64: |decimal| decimal.to_f64();
    f16: |decimal| decimal.to_half(f16::from_f32, f16::to_f64);
    bf16: |decimal| decimal.to_half(bf16::from_f32, bf16::to_f64);
}

// === integers ===

macro_rules! integer_numbers {
    ($($integer:ty),*) => {
        $(impl Number for $integer {
            #[inline(always)]
            fn read(rest: &[u8]) -> Result<(Self, &[u8]), Refusal<'_>> {
                if !begins_number(rest) {
                    return Err(not_a_number(rest));
                }
                let (decimal, after) = scan(rest).map_err(Refusal::Syntax)?;
                let value = if decimal.plain && decimal.exact {
                    let magnitude = i128::from(decimal.mantissa);
                    if decimal.negative { -magnitude } else { magnitude }
                } else {
                    Digits::new(decimal.text).whole()?
                };
                let value = Self::try_from(value).map_err(|_| Refusal::Range)?;
                Ok((value, after))
            }
        })*
    };
}

integer_numbers!(u8, u16, u32, u64, i8, i16, i32, i64);

// === numbers that are no elements ===

/// A number that stands alone: a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar {
    Signed(i64),
    Unsigned(u64),
    Double(f64),
}

/// Reads a number of no particular width; an integer stays one where it fits 64 bits.
pub(super) fn read_scalar(rest: &[u8]) -> Result<(Scalar, &[u8]), Refusal<'_>> {
    let (decimal, after) = scan(rest).map_err(Refusal::Syntax)?;
    if decimal.plain {
        if let Ok((value, _)) = i64::read(rest) {
            return Ok((Scalar::Signed(value), after));
        }
        if let Ok((value, _)) = u64::read(rest) {
            return Ok((Scalar::Unsigned(value), after));
        }
    }
    let value = decimal.to_f64();
    if value.is_infinite() {
        return Err(Refusal::Range);
    }
    Ok((Scalar::Double(value), after))
}

/// Reads a dimension: a non-negative integer written as one.
pub(super) fn read_dimension(rest: &[u8]) -> Option<(u64, &[u8])> {
    let (decimal, after) = scan(rest).ok()?;
    if !decimal.plain || decimal.negative {
        return None;
    }
    let (value, _) = u64::read(rest).ok()?;
    Some((value, after))
}
