//! Any text is a document that cannot be read, or one that becomes Markdown
//! without control characters and not much longer than itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recac_orchestrator::source::jira::adf::markdown;

fuzz_target!(|json: &str| {
    let Ok(markdown) = markdown(json) else {
        return;
    };
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    assert!(!markdown.contains(bad));
    assert!(markdown.len() <= 1000 + 60 * json.len());
});
