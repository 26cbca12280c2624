//! Any bytes are a work file that is refused, or one whose items are lawful.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use recac_orchestrator::source::{
    file::{outcomes::Told, plan::plan},
    repo::Repos,
};

fuzz_target!(|bytes: &[u8]| {
    let repos = Repos {
        needed: true,
        ..Repos::default()
    };
    let Ok(read) = plan(bytes, &Told::default(), &repos) else {
        return;
    };
    let ids: BTreeSet<&str> = read.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids.len(), read.items.len(), "an id twice");
    for id in ids {
        assert!((1..=255).contains(&id.len()) && !id.contains(char::is_control));
    }
    assert_eq!(read.complaints.iter().filter(|c| c.grave).count(), read.bad);
    assert_eq!(plan(bytes, &Told::default(), &repos), Ok(read));
});
