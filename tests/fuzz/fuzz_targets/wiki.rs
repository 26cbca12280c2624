//! Any text becomes Markdown without control characters and not much longer
//! than itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recac_orchestrator::source::jira::wiki::markdown;

fuzz_target!(|wiki: &str| {
    let markdown = markdown(wiki);
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    assert!(!markdown.contains(bad));
    assert!(markdown.len() <= 1000 + 60 * wiki.len());
});
