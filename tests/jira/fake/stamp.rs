//! Times as Jira writes them: `2026-09-25T22:42:39.399-0300`. Milliseconds
//! since 1970 inside.

use std::time::{SystemTime, UNIX_EPOCH};

/// The fake's people live here: an offset that is not zero finds those who
/// ignore it.
const OFFSET: i64 = -3 * 3_600_000;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64)
}

pub fn write(ms: i64) -> String {
    let (y, m, d, rest) = civil(ms + OFFSET);
    let (h, min, s, ms) = clock(rest);
    format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}.{ms:03}-0300")
}

/// RFC 3339, as the rate limits have it.
pub fn write_iso(ms: i64) -> String {
    let (y, m, d, rest) = civil(ms);
    let (h, min, ..) = clock(rest);
    format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}Z")
}

/// As `Retry-After` and `Date` have it.
pub fn write_http(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (y, m, d, rest) = civil(ms);
    let (h, min, s, _) = clock(rest);
    let day = DAYS[ms.div_euclid(86_400_000).rem_euclid(7) as usize];
    format!(
        "{day}, {d:02} {} {y:04} {h:02}:{min:02}:{s:02} GMT",
        MONTHS[m as usize - 1]
    )
}

/// What [`write_http`] makes.
pub fn read_http(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = &*words else {
        return None;
    };
    let month = MONTHS.iter().position(|m| m == month)? + 1;
    read(&format!("{year}-{month:02}-{day} {time}"))
}

/// Reads `2026-09-25`, `2026-09-25 22:42`, `-7d` and what [`write`] makes.
pub fn read(text: &str) -> Option<i64> {
    if let Some(ago) = text.strip_prefix('-') {
        let unit = match ago.chars().last()? {
            'm' => 1,
            'h' => 60,
            'd' => 24 * 60,
            'w' => 7 * 24 * 60,
            _ => return None,
        };
        let many: i64 = ago[..ago.len() - 1].parse().ok()?;
        return Some(now() - many * unit * 60_000);
    }
    let mut offset = 0;
    let text = match text
        .char_indices()
        .skip(11)
        .find(|(_, c)| matches!(c, '+' | '-' | 'Z'))
    {
        Some((at, sign)) => {
            let digits: String = text[at + 1..]
                .chars()
                .filter(char::is_ascii_digit)
                .collect();
            if let (Some(h), Some(m)) = (digits.get(..2), digits.get(2..4)) {
                offset = h.parse::<i64>().ok()? * 60 + m.parse::<i64>().ok()?;
            }
            if sign == '-' {
                offset = -offset;
            }
            &text[..at]
        }
        None => text,
    };
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<i64>);
    let (y, m, d) = (
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
    );
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    let (h, min, s, ms) = (next(), next(), next(), next());
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let (y, m) = if m > 2 { (y, m - 3) } else { (y - 1, m + 9) };
    let days =
        y * 365 + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + d
            - 1
            - 719_468;
    Some((((days * 24 + h) * 60 + min - offset) * 60 + s) * 1000 + ms)
}

fn clock(ms: i64) -> (i64, i64, i64, i64) {
    (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// Year, month, day and the milliseconds of the day.
fn civil(ms: i64) -> (i64, i64, i64, i64) {
    let days = ms.div_euclid(86_400_000) + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let d = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (
        era * 400 + year + carry,
        month,
        d,
        ms.rem_euclid(86_400_000),
    )
}
