//! x

/// x
pub fn markdown(wiki: &str) -> String {
    wiki.to_owned()
}
