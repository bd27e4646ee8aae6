//! Text of bounded length, put together without a panic path.
//!
//! The formatting of the core library may panic in places the optimiser cannot see through, and native subjects must link
//! without panics.

/// Up to `N` bytes of text. What does not fit is cut off.
#[derive(Debug, Clone)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    /// An empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    /// Appends a string.
    #[must_use]
    pub fn str(mut self, text: &str) -> Self {
        self.push(text.as_bytes());
        self
    }

    /// Appends a number in decimal.
    #[must_use]
    pub fn decimal(mut self, number: u64) -> Self {
        self.push_number(number, 10);
        self
    }

    /// Appends a signed number in decimal.
    #[must_use]
    pub fn signed(self, number: i64) -> Self {
        let sign = if number < 0 { "-" } else { "" };
        self.str(sign).decimal(number.unsigned_abs())
    }

    /// Appends a number in hexadecimal, with `0x` before it.
    #[must_use]
    pub fn hex(mut self, number: u64) -> Self {
        self.push(b"0x");
        self.push_number(number, 16);
        self
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.length).zip(bytes) {
            *to = *from;
        }
        self.length = self.length.saturating_add(bytes.len()).min(N);
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Bytes it could still take.
    #[must_use]
    pub fn room(&self) -> usize {
        N.saturating_sub(self.length)
    }

    /// The text as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }

    /// The text; up to its first byte that is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match core::str::from_utf8(self.as_bytes()) {
            Ok(text) => text,
            Err(error) => {
                let valid = self.as_bytes().get(..error.valid_up_to()).unwrap_or(&[]);
                core::str::from_utf8(valid).unwrap_or("")
            }
        }
    }

    fn push_number(&mut self, mut number: u64, base: u8) {
        // 20 digits are enough for the largest number in decimal.
        let mut digits = [0; 20];
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            let value = (number % u64::from(base.max(2))) as u8;
            *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
            number /= u64::from(base.max(2));
            used += 1;
            if number == 0 {
                break;
            }
        }
        self.push(digits.get(digits.len() - used..).unwrap_or(&[]));
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_numbers() {
        let text =
            Text::<80>::new().decimal(0).str(" ").decimal(u64::MAX).str(" ").hex(0).str(" ").hex(0xdead_beef);
        assert_eq!(text.as_str(), "0 18446744073709551615 0x0 0xdeadbeef");
        assert_eq!(
            Text::<80>::new().signed(-3).str("/").signed(i64::MIN).as_str(),
            "-3/-9223372036854775808"
        );
    }

    #[test]
    fn text_that_does_not_fit_is_cut() {
        let mut text = Text::<4>::new().str("abc");
        assert_eq!(text.room(), 1);
        text.push(b"defg");
        assert_eq!((text.as_str(), text.room()), ("abcd", 0));
        text.clear();
        assert_eq!(text.as_str(), "");
    }

    #[test]
    fn a_character_cut_in_half_is_left_out() {
        assert_eq!(Text::<2>::new().str("aé").as_str(), "a");
    }
}
