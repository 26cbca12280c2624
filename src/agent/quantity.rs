//! Limits of an agent in Kubernetes notation.
//!
//! Never decides whether a limit is wise, only whether it is one.

use std::fmt;

/// Thousandths of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millicores(pub u32);

impl Millicores {
    /// The same in processors, as `docker run --cpus` takes it: `0.5`.
    #[must_use]
    pub fn decimal(self) -> String {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// As Kubernetes itself writes it: `2`, `500m`.
impl fmt::Display for Millicores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            _ => write!(f, "{}m", self.0),
        }
    }
}

/// An amount of memory. Its text is the plain number, which docker and
/// Kubernetes both take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Reads `2`, `0.5` or `500m`.
///
/// # Errors
/// Anything else, nothing at all, and what is finer than a thousandth.
pub fn cpus(text: &str) -> Result<Millicores, String> {
    let wrong = || "not a number of processors such as 2, 0.5 or 500m".to_owned();
    let (number, scale) = match text.strip_suffix('m') {
        Some(number) => (number, 1),
        None => (text, 1000),
    };
    let (amount, exact) = scaled(number, scale).ok_or_else(wrong)?;
    if !exact {
        return Err("finer than 1m, which is the least".to_owned());
    }
    match u32::try_from(amount) {
        Ok(0) => Err("must be more than 0, such as 500m or 2".to_owned()),
        Ok(amount) => Ok(Millicores(amount)),
        Err(_) => Err(wrong()),
    }
}

/// What may follow a number of bytes.
const UNITS: [(&str, u128); 13] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("", 1),
];

/// Reads `4Gi`, `512Mi`, `1.5G`, `1e9` or `1073741824`. A fraction of a byte
/// is rounded up, as Kubernetes does.
///
/// # Errors
/// Anything else, nothing at all, and what no machine can hold.
pub fn memory(text: &str) -> Result<Bytes, String> {
    let wrong = || "not an amount of memory such as 4Gi, 512Mi or 1073741824".to_owned();
    if text.ends_with('m') {
        // Kubernetes reads it as thousandths of a byte, which nobody means.
        return Err("m is a thousandth of a byte; write Mi (or M)".to_owned());
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
    let scale = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
        .or_else(|| power_of_ten(unit))
        .ok_or_else(wrong)?;
    let (amount, exact) = scaled(number, scale).ok_or_else(wrong)?;
    match u64::try_from(amount + u128::from(!exact)) {
        Ok(0) => Err("must be more than 0, such as 512Mi or 4Gi".to_owned()),
        // What is beyond is beyond Kubernetes as well.
        Ok(amount) if amount <= i64::MAX as u64 => Ok(Bytes(amount)),
        _ => Err("more than any machine has".to_owned()),
    }
}

/// `e9` and `E9`: the exponents of Kubernetes.
fn power_of_ten(unit: &str) -> Option<u128> {
    let digits = unit.strip_prefix(['e', 'E'])?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    10_u128.checked_pow(digits.parse().ok().filter(|n| *n <= 18)?)
}

/// The decimal number `text` times `scale`, and whether that is a whole
/// number; rounded down where it is not. `None` if `text` is no such number or
/// out of all proportion.
fn scaled(text: &str, scale: u128) -> Option<(u128, bool)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    // 18 digits on either side times 2^60 stay within 128 bits.
    let lawful = digits(whole) && digits(part) && whole.len() <= 18 && part.len() <= 18;
    if !lawful || whole.is_empty() && part.is_empty() {
        return None;
    }
    let value = |text: &str| match text {
        "" => Some(0),
        text => text.parse::<u128>().ok(),
    };
    let one = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = value(part)?.checked_mul(scale)?;
    let amount = value(whole)?.checked_mul(scale)?.checked_add(part / one)?;
    Some((amount, part % one == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_as_kubernetes_reads_them() {
        for (text, milli) in [
            ("2", 2000),
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("2.", 2000),
            ("1.25", 1250),
            ("0.001", 1),
            ("0.5000", 500),
            ("1m", 1),
            ("4000000m", 4_000_000),
        ] {
            assert_eq!(cpus(text), Ok(Millicores(milli)), "{text}");
        }
        for text in [
            "",
            "m",
            ".",
            "0",
            "0m",
            "0.0",
            "-1",
            "+1",
            "1 ",
            "0.0005",
            "0.5m",
            "1.0005",
            "two",
            "1k",
            "1e3",
            "1_0",
            "99999999999",
            "٣",
            "1.2.3",
            "mm",
        ] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_read_as_kubernetes_reads_it() {
        for (text, bytes) in [
            ("4Gi", 4 << 30),
            ("512Mi", 512 << 20),
            ("1G", 1_000_000_000),
            ("1e9", 1_000_000_000),
            ("1E9", 1_000_000_000),
            ("1.5Gi", 3 << 29),
            ("1.5e1", 15),
            ("1E", 1_000_000_000_000_000_000),
            ("7Ei", 7 << 60),
            ("64k", 64_000),
            ("1Ki", 1024),
            ("1073741824", 1 << 30),
            // A fraction of a byte counts as one.
            ("0.1", 1),
            ("1.0001k", 1001),
        ] {
            assert_eq!(memory(text), Ok(Bytes(bytes)), "{text}");
        }
        for text in [
            "",
            "Gi",
            "0",
            "0Gi",
            "-1Gi",
            "4 Gi",
            "4gi",
            "4GB",
            "4K",
            "1e",
            "1e-3",
            "1e+3",
            "1e99",
            "8Ei",
            "999999999999999999Ei",
            "9999999999999999999999999",
            "ä",
            "1.2.3Gi",
        ] {
            assert!(memory(text).is_err(), "{text}");
        }
        assert!(memory("400m").unwrap_err().contains("Mi"));
        assert!(memory("4gi").unwrap_err().contains("4Gi"));
    }

    #[test]
    fn amounts_are_written_for_either_runtime() {
        assert_eq!(Millicores(2000).to_string(), "2");
        assert_eq!(Millicores(1500).to_string(), "1500m");
        assert_eq!(Millicores(2000).decimal(), "2");
        assert_eq!(Millicores(1500).decimal(), "1.5");
        assert_eq!(Millicores(20_000).decimal(), "20");
        assert_eq!(Millicores(1).decimal(), "0.001");
        assert_eq!(Bytes(1 << 30).to_string(), "1073741824");
        for milli in (1..50_000).step_by(7).map(Millicores) {
            assert_eq!(cpus(&milli.to_string()), Ok(milli));
            assert_eq!(cpus(&milli.decimal()), Ok(milli));
        }
    }
}
