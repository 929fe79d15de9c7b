//! Decimal numbers of any length, exactly: for the few where a machine word or a double will not do.

use std::cmp::Ordering;

use super::numbers::{Refusal, read_exponent};

/// A number's digits without leading and trailing zeros: `0.digits × 10^exponent`.
///
/// Zero has no digits.
pub(super) struct Digits {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Digits {
    /// Of a text that [`scan`] has accepted, or that the standard library wrote.
    pub(super) fn new(text: &[u8]) -> Self {
        let negative = text.first() == Some(&b'-');
        let split = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (number, exponent) = text.split_at(split.unwrap_or(text.len()));
        let exponent = match read_exponent(exponent) {
            Ok((exponent, _)) => exponent,
            Err(_) => 0,
        };
        let point = number.iter().position(|byte| *byte == b'.');
        let integer = number
            .get(..point.unwrap_or(number.len()))
            .unwrap_or_default();
        let integer_digits = integer.len() - usize::from(negative);
        let all = number.iter().filter(|byte| byte.is_ascii_digit());
        let leading = all.clone().take_while(|digit| **digit == b'0').count();
        let mut digits: Vec<u8> = all.skip(leading).map(|digit| digit - b'0').collect();
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let places = integer_digits as i64 - leading as i64;
        Self {
            negative,
            digits,
            exponent: exponent.saturating_add(places),
        }
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (false, false) => self
                .exponent
                .cmp(&other.exponent)
                .then_with(|| self.digits.cmp(&other.digits)),
            (ours, theirs) => theirs.cmp(&ours),
        }
    }

    /// The whole number this is, if it is one that 38 digits hold; more are beyond any datatype.
    pub(super) fn whole<'a>(&self) -> Result<i128, Refusal<'a>> {
        if self.digits.is_empty() {
            return Ok(0);
        }
        if self.exponent < self.digits.len() as i64 {
            return Err(Refusal::Fraction);
        }
        if self.exponent > 38 {
            return Err(Refusal::Range);
        }
        let places = usize::try_from(self.exponent).unwrap_or_default();
        let zeros = std::iter::repeat(&0);
        let digits = self.digits.iter().chain(zeros).take(places);
        let magnitude = digits.fold(0_i128, |value, digit| value * 10 + i128::from(*digit));
        Ok(if self.negative { -magnitude } else { magnitude })
    }
}
