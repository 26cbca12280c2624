//! The one look at the wall clock.

use std::time::SystemTime;

use crate::core::Stamp;

/// What time it is.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Stamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Stamp::default().plus(since)
}
