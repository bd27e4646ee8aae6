//! Sizes and durations as people write them: `16 MiB`, `5 ms`.

/// Reads a size in bytes.
///
/// # Errors
/// What would be right.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZE_UNITS, "a size", "\"16 MiB\"; units are B, KiB, MiB, GiB and TiB")
}

/// Reads a duration in microseconds.
///
/// # Errors
/// What would be right.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    parse(text, &DURATION_UNITS, "a duration", "\"5 ms\"; units are us, ms and s")
}

/// A size without a fraction where that is short, else with one decimal.
pub(crate) fn size(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes >= *factor;
    let (unit, factor) = SIZE_UNITS.iter().rev().find(fits).unwrap_or(&SIZE_UNITS[0]);
    if bytes.is_multiple_of(*factor) {
        return format!("{} {unit}", bytes / factor);
    }
    let exact = |(_, factor): &&(&str, u64)| bytes.is_multiple_of(*factor) && bytes / factor < 10_000;
    match SIZE_UNITS.iter().rev().find(exact) {
        Some((unit, factor)) => format!("{} {unit}", bytes / factor),
        None => format!("{:.1} {unit}", bytes as f64 / *factor as f64),
    }
}

/// A duration in the largest unit that leaves no fraction.
pub(crate) fn duration(microseconds: u64) -> String {
    let exact = |(_, factor): &&(&str, u64)| microseconds >= *factor && microseconds.is_multiple_of(*factor);
    let (unit, factor) = DURATION_UNITS.iter().rev().find(exact).unwrap_or(&DURATION_UNITS[0]);
    format!("{} {unit}", microseconds / factor)
}

fn parse(text: &str, units: &[(&str, u64)], what: &str, example: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err(format!("write {what} as a whole number and a unit, such as {example}"));
    }
    if unit.is_empty() {
        return Err(format!("add the unit, such as in {example}"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let meant = units.iter().find(|(name, _)| {
            name.eq_ignore_ascii_case(unit) || name.replacen('i', "", 1).eq_ignore_ascii_case(unit)
        });
        return Err(match meant {
            Some((name, _)) => format!("did you mean `{number} {name}`?"),
            None => format!("write {what} such as {example}"),
        });
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|n| n.checked_mul(*factor))
        .ok_or_else(|| format!("the number is too large; write {what} such as {example}"))
}

const SIZE_UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
const DURATION_UNITS: [(&str, u64); 3] = [("us", 1), ("ms", 1000), ("s", 1_000_000)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_space() {
        assert_eq!(parse_size("16 MiB"), Ok(16 << 20));
        assert_eq!(parse_size("512KiB"), Ok(512 << 10));
        assert_eq!(parse_size(" 4096 B "), Ok(4096));
    }

    #[test]
    fn a_size_without_a_binary_unit_is_refused_with_the_unit_that_was_meant() {
        assert_eq!(parse_size("16 MB"), Err("did you mean `16 MiB`?".to_owned()));
        assert_eq!(parse_size("16 mib"), Err("did you mean `16 MiB`?".to_owned()));
        assert!(parse_size("16").unwrap_err().contains("add the unit"));
        assert!(parse_size("MiB").unwrap_err().contains("whole number"));
        assert!(parse_size("-1 MiB").unwrap_err().contains("whole number"));
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        assert!(parse_size("99999999999999999999 B").is_err());
        assert!(parse_size("18446744073709551615 KiB").is_err());
    }

    #[test]
    fn durations_are_microseconds() {
        assert_eq!(parse_duration("5 ms"), Ok(5000));
        assert_eq!(parse_duration("250us"), Ok(250));
        assert_eq!(parse_duration("2 s"), Ok(2_000_000));
        assert_eq!(parse_duration("2 S"), Err("did you mean `2 s`?".to_owned()));
    }

    #[test]
    fn what_is_printed_is_what_was_read() {
        for text in ["1 B", "4 KiB", "16 MiB", "10 GiB", "3 TiB"] {
            assert_eq!(size(parse_size(text).unwrap()), text);
        }
        for text in ["100 us", "5 ms", "2 s"] {
            assert_eq!(duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(size(1_500_000_001), "1.4 GiB");
        assert_eq!(size(0), "0 B");
    }
}
