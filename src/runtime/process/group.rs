//! Whether the processes of an agent live, and ending them. The one place that
//! sends signals.

use std::fs;

use rustix::process::{Pid, Signal, kill_process_group};

use super::files::PidFile;

/// When this process was started, in clock ticks since the machine was.
#[must_use]
pub fn own_start_ticks() -> u64 {
    stat("self").map_or(0, |s| s.start_ticks)
}

/// Which start of the machine this is.
#[must_use]
pub fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Whether any process of the agent lives: its first, or one left in the group
/// and session that were its own.
#[must_use]
pub fn lives(agent: &PidFile) -> bool {
    if agent.boot_id != boot_id() {
        return false;
    }
    match stat(&agent.pid.to_string()) {
        // The number is another's by now, so nobody is left in the group: as
        // long as somebody is, it is not given anew.
        Some(s) if s.start_ticks != agent.start_ticks => false,
        // Not yet waited for by whoever inherited it, but at its end.
        Some(s) if matches!(s.state, b'Z' | b'X') => has_members(agent),
        Some(_) => true,
        None => has_members(agent),
    }
}

/// The environment of the agent's first process, as it was when it began.
#[must_use]
pub fn environment(agent: &PidFile) -> Vec<(String, String)> {
    let bytes = match stat(&agent.pid.to_string()) {
        Some(s) if s.start_ticks == agent.start_ticks => {
            fs::read(format!("/proc/{}/environ", agent.pid)).unwrap_or_default()
        }
        _ => vec![],
    };
    let vars = bytes
        .split(|b| *b == 0)
        .filter_map(|var| std::str::from_utf8(var).ok());
    let vars = vars.filter_map(|var| var.split_once('='));
    vars.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Whether a process other than the first is left. Only looked at where nobody
/// supervises, so that it may cost a walk through all processes.
fn has_members(agent: &PidFile) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else {
        return false;
    };
    let names = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok());
    let numbers = names.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    numbers.filter_map(|pid| stat(&pid)).any(|s| {
        s.group == agent.pid
            && s.session == agent.pid
            && s.start_ticks >= agent.start_ticks
            && !matches!(s.state, b'Z' | b'X')
    })
}

/// Asks the agent's processes to end.
pub fn terminate(agent: &PidFile) {
    signal(agent.pid, Signal::TERM);
}

/// Ends the agent's processes.
pub fn kill(agent: &PidFile) {
    signal(agent.pid, Signal::KILL);
}

/// Ends every process of this group.
pub fn kill_group(pid: i32) {
    signal(pid, Signal::KILL);
}

fn signal(group: i32, signal: Signal) {
    // 0 and 1 would mean ourselves, and everybody.
    if let Some(pid) = Pid::from_raw(group).filter(|_| group > 1) {
        // There may be nobody left to hear it.
        let _ = kill_process_group(pid, signal);
    }
}

struct Stat {
    state: u8,
    group: i32,
    session: i32,
    start_ticks: u64,
}

/// `/proc/PID/stat`, see proc_pid_stat(5): the second field may hold anything,
/// so the others are counted from its last parenthesis.
fn stat(pid: &str) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_stat_are_found_behind_any_name() {
        let text = "42 (a) b (c)) S 1 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 9876 11 12";
        let stat = parse(text).unwrap();
        assert_eq!(
            (stat.state, stat.group, stat.session, stat.start_ticks),
            (b'S', 42, 41, 9876)
        );
        assert!(parse("42 (a").is_none());
        assert!(own_start_ticks() > 0 && !boot_id().is_empty());
    }
}
