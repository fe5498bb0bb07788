//! Quotients for people, in decimals. Floats would do, but their formatting is ten kilobytes of code that nothing else needs.

use std::fmt;

/// `number / by`, shown with so many decimal places; a tie goes to the even digit, as in C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotient {
    number: u64,
    by: u64,
    places: u32,
}

impl Quotient {
    /// `number / by` with `places` decimals, of which `by` times as many powers of ten must fit into 64 bits. What is divided by
    /// nothing is shown as it is.
    pub fn new(number: u64, by: u64, places: u32) -> Self {
        Quotient { number, by: by.max(1), places }
    }
}

impl fmt::Display for Quotient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10u64.pow(self.places);
        let (mut whole, rest) = (self.number / self.by, self.number % self.by);
        let rest = rest.saturating_mul(scale);
        let (mut digits, left) = (rest / self.by, rest % self.by);
        let twice = left.saturating_mul(2);
        digits += u64::from(twice > self.by || (twice == self.by && digits % 2 == 1));
        if digits == scale {
            (whole, digits) = (whole + 1, 0);
        }
        write!(f, "{whole}.{digits:0places$}", places = self.places as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn they_are_shown_as_floats_would_be() {
        let mut random = Random::new(1);
        let exact = [(1, 8, 2), (3, 8, 2), (999, 1000, 2), (0, 7, 3), (7, 1, 1), (2047, 1024, 2)];
        let powers =
            (0..2000).map(|_| (random.below(1 << 40), 1 << random.below(30), random.below(6) as u32 + 1));
        for (number, by, places) in exact.into_iter().chain(powers) {
            let float = number as f64 / by as f64;
            let shown = Quotient::new(number, by, places).to_string();
            assert_eq!(shown, format!("{float:.0$}", places as usize), "{number} / {by}");
        }
        assert_eq!(Quotient::new(3, 0, 2).to_string(), "3.00");
    }
}
