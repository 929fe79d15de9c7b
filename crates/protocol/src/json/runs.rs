//! Runs of single floats as tensors have them, `-0.1234567,0.5, 12.25,7`, without a branch on what
//! is as good as random: signs and how many digits there are.
//!
//! One look over 64 bytes tells where numbers end, so where the next begins is known long before
//! this one is read. A run ends at the first number that is written in another way, or that lies
//! too near the middle between two floats; whoever called reads that one with all care.

use super::lanes::{WINDOW, no_digits, sixteen_digits};
use super::numbers::eight_digits;

/// How far beyond a window words are read.
const BEYOND: usize = 32;
/// How many bytes are looked at for one window.
const LOOKED_AT: usize = WINDOW + BEYOND;
/// How many numbers a window holds that are written in 15 characters at most.
const EACH: usize = 4;

/// Appends the floats that `rest` begins with, at most so many, each with its comma and what
/// follows that; returns the rest, at whose beginning a number is due, or whitespace before it.
#[inline]
pub(super) fn read<'a>(rest: &'a [u8], most: usize, out: &mut Vec<f32>) -> &'a [u8] {
    let spaced = is_spaced(rest);
    let (rest, most) = by_windows::<EACH>(rest, most, spaced, out);
    match rest.len() < LOOKED_AT && most > 0 {
        true => to_the_end(rest, most, spaced, out),
        false => rest,
    }
}

/// The same where the body ends within a window: a copy of what is left has something behind it.
/// Of a small tensor that is half, or all.
fn to_the_end<'a>(rest: &'a [u8], most: usize, spaced: bool, out: &mut Vec<f32>) -> &'a [u8] {
    let mut copy = [0; 2 * LOOKED_AT];
    let Some(room) = copy.get_mut(..rest.len()) else {
        return rest;
    };
    room.copy_from_slice(rest);
    let (left, most) = by_windows::<EACH>(&copy, most, spaced, out);
    let (left, _) = by_windows::<1>(left, most, spaced, out);
    let read = copy.len() - left.len();
    rest.get(read..).unwrap_or_default()
}

/// The same while there are whole windows, of each of which as many as `N` numbers are read, and
/// so many are asked for; returns how many more are, too.
#[inline(always)]
fn by_windows<'a, const N: usize>(
    mut rest: &'a [u8],
    mut most: usize,
    spaced: bool,
    out: &mut Vec<f32>,
) -> (&'a [u8], usize) {
    while let Some(window) = rest.first_chunk::<LOOKED_AT>()
        && most >= N
    {
        let mut at = 0;
        let mut marks = window.first_chunk().map_or(0, no_digits);
        let mut values = [0.0; N];
        let mut found = 0;
        for value in &mut values {
            let Some(number) = Number::find(window, at, marks, spaced) else {
                break;
            };
            let Some(read) = number.value(window, at) else {
                break;
            };
            *value = read;
            at += number.length;
            marks >>= number.length & 63;
            found += 1;
        }
        out.extend_from_slice(values.get(..found).unwrap_or_default());
        rest = rest.get(at..).unwrap_or_default();
        most -= found;
        if found == 0 {
            break;
        }
    }
    (rest, most)
}

/// Whether a space stands behind the first comma. What begins otherwise ends the run.
fn is_spaced(rest: &[u8]) -> bool {
    let start = rest.get(..WINDOW).unwrap_or(rest);
    let comma = start.iter().position(|byte| *byte == b',');
    comma.is_some_and(|comma| start.get(comma + 1) == Some(&b' '))
}

/// Where the parts of a number lie, from its first character.
struct Number {
    negative: bool,
    /// Where the point is, or would be.
    point: usize,
    /// Where the number ends.
    end: usize,
    /// Where the next one begins.
    length: usize,
}

impl Number {
    /// A number whose end lies in the window. `marks` are its characters that are no digits.
    #[inline(always)]
    fn find(window: &[u8; LOOKED_AT], at: usize, marks: u64, spaced: bool) -> Option<Self> {
        let negative = marks & 1;
        let marks = marks & !1;
        let point = marks.trailing_zeros() as usize;
        let marks = marks & marks.wrapping_sub(1);
        let mut end = marks.trailing_zeros() as usize;
        if byte(window, at + point) == b',' {
            end = point;
        } else if marks == 0 || byte(window, at + point) != b'.' {
            return None;
        }
        let gap = byte(window, at + end + 1) == b' ';
        let wrong = (negative == 1) & (byte(window, at) != b'-')
            | (byte(window, at + end) != b',')
            | (gap != spaced);
        if wrong {
            return None;
        }
        Some(Self {
            negative: negative == 1,
            point,
            end,
            length: end + 1 + usize::from(spaced),
        })
    }

    /// Its value, if that is certain.
    #[inline(always)]
    fn value(&self, window: &[u8; LOOKED_AT], at: usize) -> Option<f32> {
        let start = at + usize::from(self.negative);
        let before = self.point - usize::from(self.negative);
        let whole = if before == 1 {
            u64::from(byte(window, start) & 0x0f)
        } else {
            if before == 0 || before > 8 || byte(window, start) == b'0' {
                return None;
            }
            let text = u64::from_le_bytes(*bytes(window, start));
            eight_digits((text & 0x0f0f_0f0f_0f0f_0f0f) << (64 - 8 * before))
        };
        let mut value = whole as i64 as f64;
        if self.end != self.point {
            let behind = self.end - self.point - 1;
            let fraction = at + self.point + 1;
            let digits = sixteen_digits(bytes(window, fraction), behind.min(16));
            // Three roundings, of relative size 2^-53 each.
            let mut part = digits as i64 as f64 * 1e-16;
            if behind.wrapping_sub(1) >= 16 {
                if behind > 18 || behind == 0 {
                    return None;
                }
                // What a double has and a single has not. Beyond the end it is no digit.
                let last = byte(window, fraction + 17) & 0x0f;
                let last = if behind == 18 { last } else { 0 };
                let more = 10 * (byte(window, fraction + 16) & 0x0f) + last;
                part += f64::from(more) * 1e-18;
            }
            value += part;
        }
        // At most four and a half units in the last place from the exact value.
        const AWAY: u64 = 6;
        let beyond_middle = (value.to_bits() & 0x1fff_ffff).wrapping_sub(0x1000_0000 - AWAY);
        if beyond_middle <= 2 * AWAY {
            return None;
        }
        let sign = u32::from(self.negative) << 31;
        Some(f32::from_bits((value as f32).to_bits() | sign))
    }
}

/// A byte of a window; the place is taken modulo its size, which it never exceeds.
#[inline(always)]
fn byte(window: &[u8; LOOKED_AT], at: usize) -> u8 {
    window.get(at).copied().unwrap_or_default()
}

/// Bytes of a window.
#[inline(always)]
fn bytes<const N: usize>(window: &[u8; LOOKED_AT], at: usize) -> &[u8; N] {
    let tail = window.get(at..).and_then(|tail| tail.first_chunk());
    tail.unwrap_or(&[0; N])
}

#[cfg(test)]
mod tests;
