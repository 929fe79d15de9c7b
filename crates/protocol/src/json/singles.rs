//! Many singles as text at once: those between 0.0001 and 100,000,000 that are neither zero nor a
//! power of two, which is nearly all that tensors hold. The others are written one by one by
//! [`digits`](super::digits), which also settles what is too near to call.
//!
//! Each step is done for a whole batch before the next, without a branch on what is as good as
//! random: what one number takes is mostly waiting for results, and a processor does not see far
//! enough ahead to begin the next one meanwhile.

use std::hint::select_unpredictable;

use super::digits::{
    FRACTION_BITS, ROOM, ZEROS, eight_digits, floor_log2_pow10, power_of_ten, put_short_float,
};

/// How many are written at once.
pub(super) const BATCH: usize = 16;
/// How much room a batch takes at most, in bytes, with its commas: no text is longer than that of
/// -1.2345678e-38.
pub(super) const BATCH_ROOM: usize = BATCH * 20 + ROOM;

/// What is the same for all singles of one exponent.
#[derive(Clone, Copy)]
struct Scale {
    /// What the significand is multiplied by: a power of ten, scaled to 64 bits.
    power: u64,
    /// Half the distance to the next single, as [`Scale::value`] counts.
    half: u64,
    /// What makes nine digits of a decimal: of one with more digits, of one with fewer.
    nines: [u32; 2],
    /// From here on there is one digit more.
    threshold: u32,
    shift: u8,
    /// The layout of a decimal with more digits; [`NONE`] when such numbers are not written here.
    layout: u8,
}

/// How many bits of a decimal stand behind its point.
const POINT: u32 = 34;

/// No layout: such a number is written by itself.
const NONE: u8 = 0x80;

/// One for each exponent as it is stored.
#[allow(clippy::indexing_slicing, reason = "a wrong index would not compile")]
static SCALES: [Scale; 256] = {
    let mut scales = [Scale::new(1); 256];
    let mut stored = 1;
    while stored < 255 {
        scales[stored] = Scale::new(stored as i32);
        stored += 1;
    }
    scales[0].layout = NONE;
    scales[255].layout = NONE;
    scales
};

impl Scale {
    const fn new(stored: i32) -> Self {
        let exponent = stored - 127 - FRACTION_BITS;
        // Of the decimals `digits × 10^k` at least one and fewer than ten lie nearest to a single.
        let k = (exponent * 1_262_611) >> 22;
        let shift = (exponent + floor_log2_pow10(-k) + 1) as u32 + POINT;
        let power = power_of_ten(-k);
        let mut scale = Self {
            power,
            half: ((power as u128 * (1 << (shift - 1))) >> 64) as u64,
            nines: [10_000_000, 100_000_000],
            threshold: 10,
            shift: shift as u8,
            layout: NONE,
        };
        let least = (scale.value(1 << FRACTION_BITS) >> POINT) as u32;
        // The power of ten of the first digit.
        let mut leading = k + 1;
        while scale.threshold <= least {
            scale.threshold *= 10;
            scale.nines = [scale.nines[0] / 10, scale.nines[1] / 10];
            leading += 1;
        }
        let layout = leading + BEFORE as i32;
        // That of one digit fewer is the one before.
        if layout >= 1 && layout < LAYOUTS.len() as i32 {
            scale.layout = layout as u8;
        }
        scale
    }

    /// A single over `10^k`.
    #[inline(always)]
    const fn value(&self, significand: u32) -> u64 {
        let moved = (significand as u64) << self.shift;
        ((self.power as u128 * moved as u128) >> 64) as u64
    }
}

/// Nine digits of a single and where they stand.
#[derive(Clone, Copy, Default)]
struct Decimal {
    digits: u32,
    layout: u32,
}

/// The shortest decimal that rounds to a single, without a layout where it cannot be told here.
#[inline(always)]
fn shortest(bits: u32) -> Decimal {
    const TEN: u64 = 10 << POINT;
    const HALF: u64 = 1 << (POINT - 1);
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    let stored = (bits >> FRACTION_BITS & 0xff) as usize;
    let Some(scale) = SCALES.get(stored) else {
        return Decimal::default();
    };
    let value = scale.value(fraction | 1 << FRACTION_BITS);
    // Is one within half the distance that ends with a zero?
    let tens = (value >> POINT) / 10;
    let beyond = value.wrapping_sub(tens.wrapping_mul(TEN));
    let (down, up) = (
        beyond.wrapping_sub(scale.half),
        beyond.wrapping_add(scale.half).wrapping_sub(TEN),
    );
    let is_down = (down as i64) < 0;
    let is_up = (up as i64) >= 0;
    let shorter = 10 * (tens as u32 + u32::from(is_up));
    let rounded = value.wrapping_add(HALF);
    let digits = select_unpredictable(is_down | is_up, shorter, (rounded >> POINT) as u32);
    // Less than one unit of `value` has been lost.
    let between = rounded & (2 * HALF - 1);
    let unclear = (down.wrapping_add(2) <= 4)
        | (up.wrapping_add(2) <= 4)
        | ((between.wrapping_add(1) <= 2) & !(is_down | is_up))
        // The single below a power of two lies nearer than the one above.
        | (fraction == 0);
    let is_less = digits < scale.threshold;
    let nine = select_unpredictable(is_less, scale.nines[1], scale.nines[0]);
    let layout = u32::from(scale.layout) - u32::from(is_less);
    Decimal {
        digits: digits.wrapping_mul(nine),
        layout: layout | u32::from(unclear) << 7,
    }
}

/// How many layouts begin with `0.`.
const BEFORE: usize = 4;

/// How nine digits become a text, for one power of ten of the first of them. What is written
/// later covers what was written before.
#[derive(Clone, Copy)]
struct Layout {
    /// Where the first digit stands, behind `0.000`; the others follow.
    first: u8,
    point: u8,
    /// Where the digits behind the point stand.
    behind: u8,
    /// How many bits of the other digits stand before the point.
    moved: u8,
    /// How many digits are shown at least.
    least: u8,
    /// How many characters there are besides.
    besides: u8,
}

#[allow(clippy::indexing_slicing, reason = "a wrong index would not compile")]
static LAYOUTS: [Layout; 12] = {
    let mut layouts = [Layout {
        first: 0,
        point: 1,
        behind: 0,
        moved: 0,
        least: 1,
        besides: 0,
    }; 12];
    let mut index = 0;
    while index < BEFORE {
        let zeros = (BEFORE + 1 - index) as u8;
        layouts[index].first = zeros;
        layouts[index].behind = zeros + 1;
        layouts[index].besides = zeros;
        index += 1;
    }
    while index < layouts.len() {
        let others = (index - BEFORE) as u8;
        layouts[index].point = others + 1;
        layouts[index].behind = others + 2;
        layouts[index].moved = 8 * others;
        layouts[index].least = others + 2;
        layouts[index].besides = 1;
        index += 1;
    }
    layouts
};

/// Nine digits as text.
#[derive(Clone, Copy, Default)]
struct Text {
    /// The first lowest, as characters.
    others: u64,
    first: u32,
    /// How many of them are needed.
    count: u32,
}

#[inline(always)]
fn text(digits: u32) -> Text {
    let others = eight_digits(digits % 100_000_000);
    Text {
        others: others | ZEROS,
        first: digits / 100_000_000,
        count: 9 - others.swap_bytes().trailing_zeros() / 8,
    }
}

/// Puts a batch, a comma behind each; `None`, and nothing of it, when one is not finite.
#[inline(always)]
pub(super) fn put<const N: usize>(
    scratch: &mut [u8; N],
    mut at: usize,
    singles: &[f32; BATCH],
) -> Option<usize> {
    let mut decimals = [Decimal::default(); BATCH];
    for (decimal, single) in decimals.iter_mut().zip(singles) {
        *decimal = shortest(single.to_bits());
    }
    let mut texts = [Text::default(); BATCH];
    for (text_of, decimal) in texts.iter_mut().zip(&decimals) {
        *text_of = text(decimal.digits);
    }
    for ((text, decimal), single) in texts.iter().zip(&decimals).zip(singles) {
        at = match (LAYOUTS.get(decimal.layout as usize), scratch.get_mut(at..)) {
            (Some(layout), Some(place)) => {
                let negative = single.to_bits() >> 31;
                at + put_text(place.first_chunk_mut()?, negative, *text, layout)
            }
            _ => alone(scratch, at, *single)?,
        };
    }
    Some(at)
}

/// Puts a text and a comma; returns their length.
#[inline(always)]
fn put_text(place: &mut [u8; PLACE], negative: u32, text: Text, layout: &Layout) -> usize {
    let at = (negative & 1) as usize;
    let end = at + (text.count.max(layout.least.into()) + u32::from(layout.besides)) as usize;
    put_byte(place, 0, b'-');
    put_word(place, at, u64::from_le_bytes(*b"0.000\0\0\0"));
    put_byte(
        place,
        at + usize::from(layout.first),
        b'0' + text.first as u8,
    );
    put_word(place, at + usize::from(layout.first) + 1, text.others);
    put_byte(place, at + usize::from(layout.point), b'.');
    put_word(
        place,
        at + usize::from(layout.behind),
        text.others >> (layout.moved & 63),
    );
    put_byte(place, end, b',');
    end + 1
}

/// How much room a text may take here, with what is too much.
const PLACE: usize = 32;

#[inline(always)]
fn put_byte(place: &mut [u8; PLACE], at: usize, byte: u8) {
    if let Some(place) = place.get_mut(at % PLACE) {
        *place = byte;
    }
}

#[inline(always)]
fn put_word(place: &mut [u8; PLACE], at: usize, word: u64) {
    let room = place
        .get_mut(at % 16..)
        .and_then(|place| place.first_chunk_mut());
    if let Some(room) = room {
        *room = word.to_le_bytes();
    }
}

#[cold]
fn alone<const N: usize>(scratch: &mut [u8; N], at: usize, single: f32) -> Option<usize> {
    let end = put_short_float(scratch, at, single)?;
    *scratch.get_mut(end)? = b',';
    Some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn together(singles: &[f32; BATCH]) -> Option<String> {
        let mut scratch = [0; BATCH_ROOM];
        let end = put(&mut scratch, 0, singles)?;
        Some(String::from_utf8(scratch[..end].to_vec()).unwrap())
    }

    fn one_by_one(singles: &[f32; BATCH]) -> String {
        let one = |single: &f32| {
            let mut scratch = [0; ROOM];
            let end = put_short_float(&mut scratch, 0, *single).unwrap();
            String::from_utf8(scratch[..end].to_vec()).unwrap() + ","
        };
        singles.iter().map(one).collect()
    }

    #[test]
    fn a_batch_is_written_as_its_singles_are_one_by_one() {
        // Every exponent, and a stride through all bit patterns that is odd, so it meets both
        // even and odd significands.
        let mut bits = 0_u32;
        for _ in 0..40_000 {
            let batch = [(); BATCH].map(|()| {
                bits = bits.wrapping_add(6_700_417);
                let single = f32::from_bits(bits);
                if single.is_finite() { single } else { 0.5 }
            });
            assert_eq!(together(&batch).unwrap(), one_by_one(&batch));
        }
    }

    #[test]
    fn round_numbers_their_neighbours_and_ties_are_written_as_they_are_one_by_one() {
        let round = (0..200_000_u32).map(|n| n as f32 / 64.0);
        let decimal = (0..200_000_u32).map(|n| n as f32 / 10_000.0);
        let near = (0..200_000_u32).map(|n| f32::from_bits(0x3dcc_cccd + n));
        let halves = (0..200_000_u32).map(|n| 65_536.5 + n as f32);
        let large = (0..200_000_u32).map(|n| 16_777_216.0 + 2.0 * n as f32);
        let all: Vec<f32> = round
            .chain(decimal)
            .chain(near)
            .chain(halves)
            .chain(large)
            .collect();
        for batch in all.as_chunks().0 {
            assert_eq!(together(batch).unwrap(), one_by_one(batch));
            let negative = batch.map(|single| -single);
            assert_eq!(together(&negative).unwrap(), one_by_one(&negative));
        }
    }

    #[test]
    fn a_batch_with_a_float_that_is_not_finite_is_not_written() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut batch = [0.25; BATCH];
            batch[BATCH - 1] = odd;
            assert_eq!(together(&batch), None);
        }
    }
}
