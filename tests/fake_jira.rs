//! Serves the fake Jira of the tests until its standard input ends, for
//! `scripts/check-fake-jira` and for people who want to try something:
//!
//!     cargo run --example fake-jira -- cloud --port 8090 --tickets 20
//!
//! Says where it is and how to log in as one line of JSON. What it was asked
//! that no client may ask is told at the end, and then the exit code is 1.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "as in the tests"
)]

mod jira {
    pub mod fake;
}

use std::{io::Read, process::ExitCode};

use jira::fake::{Fake, Kind, Setup, Ticket, Transition};

const USAGE: &str = "fake-jira cloud|dc [--port N] [--tickets N] [--bytes N] \
                     [--context /PATH] [--german] [--password]";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut setup = match args.next().as_deref() {
        Some("cloud") => Setup::cloud(),
        Some("dc") => Setup::data_center(),
        _ => panic!("{USAGE}"),
    };
    let mut tickets = 10;
    // Of each description.
    let mut bytes = 0;
    let mut password = false;
    while let Some(arg) = args.next() {
        let mut value = || args.next().expect(USAGE);
        match arg.as_str() {
            "--port" => setup = setup.port(value().parse().expect(USAGE)),
            "--tickets" => tickets = value().parse().expect(USAGE),
            "--bytes" => bytes = value().parse().expect(USAGE),
            "--context" => setup = setup.context(&value()),
            "--german" => setup = setup.german(),
            "--password" => password = true,
            _ => panic!("{USAGE}"),
        }
    }
    let jira = setup.start();
    if password {
        jira.account(|a| a.kind = Kind::Password);
    }
    match bytes {
        0 => fill(&jira, tickets),
        _ => fill_alike(&jira, tickets, bytes),
    }
    let told = serde_json::json!({"url": jira.url(), "user": jira.user(), "token": jira.token()});
    println!("{told}");
    let _ = std::io::stdin().read_to_end(&mut vec![]);
    let violations = jira.violations();
    for violation in &violations {
        eprintln!("violation: {violation}");
    }
    ExitCode::from(u8::from(!violations.is_empty()))
}

/// Tickets that all want an agent, with descriptions of this size.
fn fill_alike(jira: &Fake, tickets: usize, bytes: usize) {
    let line = "Please make the checkout faster, and see that nothing else gets slower by it.\n";
    let text = "Repo: https://github.com/acme/shop\n".to_owned() + &line.repeat(bytes / line.len());
    let tickets = (1..=tickets).map(|n| {
        let ticket = Ticket::new(&format!("SHOP-{n}")).label("recac-agent");
        ticket.summary("Make the checkout faster").text(&text)
    });
    jira.add_all(tickets);
}

/// Tickets of every kind: blocked, done, without a repository, with comments,
/// in letters of all sorts.
fn fill(jira: &Fake, tickets: usize) {
    let repo = "Repo: https://github.com/acme/shop.git\nPlease make it faster. Ü 🦀";
    let statuses: Vec<String> =
        jira.with(|site| site.statuses.iter().map(|s| s.name.clone()).collect());
    for n in 1..=tickets {
        let mut ticket = Ticket::new(&format!("SHOP-{n}")).label("recac-agent");
        ticket = if n % 5 == 0 {
            ticket.text("no repository")
        } else {
            ticket.text(repo)
        };
        if n % 3 == 0 {
            let priority = jira.with(|site| site.priorities[n % 5].clone());
            ticket = ticket
                .priority(&priority)
                .comment("Ria Reporter", "Is there news? é");
        }
        if n % 4 == 0 {
            ticket = ticket.blocked_by(&format!("SHOP-{}", n - 1));
        }
        if n % 7 == 0 {
            ticket = ticket.status(&statuses[3]);
        }
        jira.add(ticket);
    }
    jira.add(Ticket::new("OTHER-1").summary("has nothing to do with agents"));
    let done = statuses[3].clone();
    jira.with(|site| site.workflow.retain(|way| way.to != done));
    let finish =
        Transition::new("41", "Finish", &done).requires("resolution", &["Done", "Won't Do"]);
    jira.with(|site| site.workflow.push(finish));
}
