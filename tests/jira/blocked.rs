//! Tickets that wait for others.

use super::*;
use crate::process::{BEGIN, marks};
use fake::Setup;

fn order(world: &World) -> Vec<String> {
    let begun = marks(world).into_iter().filter(|mark| mark.begin);
    begun.map(|mark| mark.item).collect()
}

/// Both kinds, and the first one in another language.
fn all() -> [Fake; 3] {
    let [cloud, dc] = both();
    [cloud, dc, Setup::cloud().german().start()]
}

#[test]
fn a_chain_runs_in_its_order() {
    for jira in all() {
        let world = World::new("jira_chain");
        let name = jira.with(|site| site.blocks.name.clone());
        for key in ["A-3", "A-2", "A-1"] {
            jira.add(wanted(key));
        }
        jira.link("A-1", "A-2");
        jira.link("A-2", "A-3");
        orchestrator(&world, &jira)
            .arg(format!("--jira-blocks-link={name}"))
            .args(["--jira-done-status=auto", "--max-agents=3"])
            .agent(BEGIN)
            .finish(0);
        assert_eq!(order(&world), ["A-1", "A-2", "A-3"], "{:#?}", asked(&jira));
        jira.assert_no_violations();
    }
}

#[test]
fn an_open_blocker_is_waited_for_and_named() {
    for jira in both() {
        let world = World::new("jira_blocked");
        jira.add(wanted("A-1").blocked_by("B-1"));
        jira.add(Ticket::new("B-1"));
        // What it blocks itself, and what is linked in another way, is no matter.
        jira.add(wanted("A-2").blocks("B-1").linked("Relates", "A-2", "B-1"));
        let out = orchestrator(&world, &jira).agent(BEGIN).finish(0);
        assert_eq!(order(&world), ["A-2"]);
        assert_eq!(
            out.stderr.matches("waits: blocked by B-1").count(),
            1,
            "{}",
            out.stderr
        );
        jira.edit("B-1", |ticket| ticket.status = "Done".into());
        orchestrator(&world, &jira).agent(BEGIN).finish(0);
        assert_eq!(order(&world), ["A-2", "A-1"]);
    }
}

#[test]
fn a_circle_is_told_of_once_and_holds_its_members_only() {
    for jira in both() {
        let world = World::new("jira_circle");
        jira.add(wanted("A-1").blocked_by("A-2"));
        jira.add(wanted("A-2").blocked_by("A-1"));
        jira.add(wanted("A-3"));
        let out = orchestrator(&world, &jira).agent(BEGIN).finish(1);
        assert_eq!(order(&world), ["A-3"]);
        let lines = out.stderr.lines().filter(|l| l.contains("in a circle"));
        let lines: Vec<&str> = lines.collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("A-1 → A-2"), "{lines:#?}");
    }
}

#[test]
fn what_is_blocked_since_the_poll_is_not_started() {
    for jira in both() {
        let world = World::new("jira_fresh");
        jira.add(wanted("A-1"));
        jira.add(Ticket::new("B-1"));
        jira.lag(fake::Lag::Frozen);
        jira.link("B-1", "A-1");
        let out = orchestrator(&world, &jira).agent(BEGIN).finish(0);
        assert!(order(&world).is_empty());
        assert!(out.stderr.contains("blocked by B-1"), "{}", out.stderr);
    }
}
