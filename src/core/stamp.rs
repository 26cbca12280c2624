//! Wall-clock stamps and their RFC 3339 text. Never looks at a clock.

use std::{fmt, str::FromStr, time::Duration};

/// Milliseconds since 1970-01-01T00:00:00Z.
///
/// Wall-clock time, because a run outlives this process and its start is read
/// back from a label, a file or a container engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

const DAY: u64 = 86_400_000;

impl Stamp {
    /// This stamp moved into the future; stays at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Stamp {
        Stamp(
            self.0
                .saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// Time passed since `earlier`; zero if that lies in the future.
    #[must_use]
    pub fn since(self, earlier: Stamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// How long from now a `Retry-After` asks to wait: seconds, of which more
    /// than a century are none, or a date
    /// (<https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>).
    #[must_use]
    pub fn retry_after(self, text: &str) -> Option<Duration> {
        if let Ok(seconds) = text.trim().parse::<u32>() {
            return Some(Duration::from_secs(seconds.into()));
        }
        Some(Stamp::from_http(text)?.since(self))
    }

    /// A date as HTTP writes it (RFC 9110, section 5.6.7), such as
    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    #[must_use]
    pub fn from_http(date: &str) -> Option<Stamp> {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let mut parts = date.split_whitespace().skip(1);
        let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let month = MONTHS.iter().position(|m| *m == month)? + 1;
        format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
    }
}

/// RFC 3339 in UTC with milliseconds, such as `2026-11-24T03:05:07.123Z`.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / DAY);
        let ms = self.0 % DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1000 % 60,
            ms % 1000
        )
    }
}

/// Reads RFC 3339 with any number of fraction digits and any offset; digits
/// after the third are dropped. Times before 1970, which engines write for
/// "never" (`0001-01-01T00:00:00Z`), are an error.
impl FromStr for Stamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Stamp, String> {
        parse(text).ok_or_else(|| format!("not an RFC 3339 time: {text:?}"))
    }
}

fn parse(text: &str) -> Option<Stamp> {
    let b = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = b.get(from..to)?;
        digits.iter().try_fold(0, |n: u64, d| {
            d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0'))
        })
    };
    let is = |at: usize, c: u8| b.get(at).filter(|x| x.eq_ignore_ascii_case(&c));
    (is(4, b'-').is_some() && is(7, b'-').is_some() && is(13, b':').is_some()).then_some(())?;
    is(10, b'T').or_else(|| is(10, b' '))?;
    is(16, b':')?;
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let lawful = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    lawful.then_some(())?;

    let mut at = 19;
    let mut ms = 0;
    if is(at, b'.').is_some() {
        at += 1;
        let digits = b
            .get(at..)?
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        (digits > 0).then_some(())?;
        for place in 0..3 {
            ms = ms * 10
                + if place < digits {
                    number(at + place, at + place + 1)?
                } else {
                    0
                };
        }
        at += digits;
    }
    let offset = if is(at, b'Z').is_some() {
        at += 1;
        0
    } else {
        let sign = match b.get(at)? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        is(at + 3, b':')?;
        let minutes = number(at + 1, at + 3)? * 60 + number(at + 4, at + 6)?;
        at += 6;
        sign * i64::try_from(minutes * 60_000).ok()?
    };
    (at == b.len()).then_some(())?;
    let local = days(year, month, day) * DAY + (hour * 3600 + minute * 60 + second) * 1000 + ms;
    u64::try_from(i64::try_from(local).ok()? - offset)
        .ok()
        .map(Stamp)
}

// The two conversions follow "chrono-Compatible Low-Level Date Algorithms" by
// Howard Hinnant (https://howardhinnant.github.io/date_algorithms.html), for
// days from 1970 on.

fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_http_writes() {
        let date = Stamp::from_http("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date.to_string(), "1994-11-06T08:49:37.000Z");
        for odd in ["", "soon", "Sun, 06 Foo 1994 08:49:37 GMT"] {
            assert_eq!(Stamp::from_http(odd), None);
        }
    }

    fn ms(text: &str) -> u64 {
        text.parse::<Stamp>().unwrap().0
    }

    #[test]
    fn known_times_are_read_and_written() {
        assert_eq!(ms("1970-01-01T00:00:00Z"), 0);
        assert_eq!(ms("2026-11-24T03:05:07.123456789Z"), 1_795_489_507_123);
        assert_eq!(ms("2026-11-24T05:05:07.1+02:00"), 1_795_489_507_100);
        assert_eq!(ms("2026-11-23t22:05:07-05:00"), 1_795_489_507_000);
        assert_eq!(
            Stamp(1_795_489_507_123).to_string(),
            "2026-11-24T03:05:07.123Z"
        );
        assert_eq!(
            Stamp(951_782_400_000).to_string(),
            "2000-02-29T00:00:00.000Z"
        );
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        for day in 0..146_097 * 2 {
            let stamp = Stamp(day * DAY + 86_399_999);
            assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }
    }

    #[test]
    fn nonsense_is_refused_and_never_panics() {
        for bad in [
            "",
            "0001-01-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-24T03:05:07",
            "2026-11-24T03:05:07.Z",
            "2026-11-24T03:05:07Zx",
            "2026-11-24T03:05:07+0200",
            "1970-01-01T00:00:00+01:00",
            "é026-11-24T03:05:07Z",
            "+026-11-24T03:05:07Z",
        ] {
            assert!(bad.parse::<Stamp>().is_err(), "{bad}");
        }
    }
}
