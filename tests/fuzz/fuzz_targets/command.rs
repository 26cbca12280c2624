//! Any text as an agent command: it is refused with a reason, or it fills.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recac_orchestrator::agent::{Command, Values, quote, split};

fuzz_target!(|text: &str| {
    if let Ok(words) = split(text) {
        let again: Vec<String> = words.iter().map(|word| quote(word)).collect();
        assert_eq!(split(&again.join(" ")), Ok(words));
    }
    if let Ok(command) = Command::parse(text) {
        let hostile = "{id}$(x)`x`'\"\\ \n-c";
        let _ = command.fill(&Values {
            id: hostile,
            summary: hostile,
            description: hostile,
            repo_url: hostile,
            url: hostile,
            attempt: "1",
            workspace: "/workspace",
        });
    }
});
