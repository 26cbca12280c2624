//! The table of options as text for people: `--help` and the block of the
//! README. Never says anything about an option that is not in the table.

use std::fmt::Write as _;

use super::{
    BIN,
    option::{Flag, GROUPS},
    table::FLAGS,
};

/// What `--version` prints.
pub(super) fn version() -> String {
    format!("{BIN} {}\n", env!("CARGO_PKG_VERSION"))
}

const HEAD: &str = "\
Usage: orchestrator [OPTION]...
       orchestrator completions bash|zsh|fish
       orchestrator manifest --orchestrator-image=IMAGE [OPTION]...
       orchestrator healthy [OPTION]...

Turns work items into coding-agent runs: one agent per item, retried,
reported, never twice. Runs until it is told to stop, unless --once is given.
manifest prints what runs it in a cluster, for kubectl apply -f -; healthy says
by its exit code whether the one with this state directory is well.

Every option can also be set in the environment, by the name that its
description ends with; of two names the first that is set counts. The command
line beats the environment, the environment beats the default, and an empty
variable is an unset one. A switch is turned off by --no-NAME; in the
environment it is true or false. Of an option that may be given several times
the environment holds all values in one string, quoted as for a shell.
TIME is written 30s, 5m, 1h30m, 500ms or 14d.
";

const FOOT: &str = "
Example, which runs every item of a file once, as a process, and waits:
  orchestrator --poller file --work-file items.json --mode process \\
      --agent-command 'my-agent --task {summary}' --once --wait

Exit codes:
  0      all well
  1      something that had to be done could not be done; with --wait also:
         an item failed for good or cannot run
  2      the command line or the configuration is wrong
  75     another orchestrator with this owner uses the state directory
  128+n  stopped at once by a second signal n
";

/// What `--help` prints; fits 80 columns.
pub(super) fn help() -> String {
    let mut out = HEAD.to_owned();
    for (group, title) in GROUPS {
        let _ = writeln!(out, "\n{title}:");
        for flag in FLAGS.iter().filter(|f| f.group == *group) {
            let _ = writeln!(out, "{}", left(flag));
            wrap(&mut out, &flag.about().replace('`', ""));
            let mut ends = vec![];
            let default = flag.default.unwrap_or(flag.otherwise).replace('`', "");
            if !default.is_empty() {
                ends.push(format!("[default: {default}]"));
            }
            if !flag.env.is_empty() {
                ends.push(format!("[env: {}]", flag.env.join(", ")));
            }
            // A long default leaves the names a line of their own.
            if ends.iter().map(String::len).sum::<usize>() < WIDTH - INDENT.len() {
                ends = vec![ends.join(" ")];
            }
            for end in ends {
                wrap(&mut out, &end);
            }
        }
    }
    out.push_str(FOOT);
    out
}

const WIDTH: usize = 79;
const INDENT: &str = "          ";

/// Adds `text`, indented and broken between words.
fn wrap(out: &mut String, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let wide = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && INDENT.len() + wide > WIDTH {
            let _ = writeln!(out, "{INDENT}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{INDENT}{line}");
    }
}

fn left(flag: &Flag) -> String {
    let mut s = match flag.short {
        Some(c) => format!("  -{c}, --{}", flag.long),
        None => format!("      --{}", flag.long),
    };
    if let Some(shape) = flag.shape() {
        let _ = write!(s, "={shape}");
    }
    s
}

/// The block of README.md between the `options` markers.
#[cfg(test)]
fn readme() -> String {
    // Inside a table even a code span has its bars escaped.
    let cell = |s: &str| s.replace('|', "\\|");
    let code = |s: &str| match s {
        "" => String::new(),
        s => format!("`{}`", cell(s)),
    };
    let mut out = String::from("| option | environment | default | meaning |\n|---|---|---|---|\n");
    for flag in FLAGS {
        let mut option = format!("--{}", flag.long);
        if let Some(shape) = flag.shape() {
            let _ = write!(option, "={shape}");
        }
        let short = flag.short.map(|c| format!(", `-{c}`")).unwrap_or_default();
        let env: Vec<String> = flag.env.iter().map(|name| code(name)).collect();
        let default = flag.default.map_or_else(|| cell(flag.otherwise), code);
        let cells = [
            code(&option) + &short,
            env.join(", "),
            default,
            cell(&flag.about()),
        ];
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_tells_everything_about_every_option() {
        let shown = help();
        let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for flag in FLAGS {
            assert!(
                shown.contains(&format!("{}\n", left(flag))),
                "--{}",
                flag.long
            );
            let about = flag.about().replace('`', "");
            assert!(flat.contains(&about), "--{}: {about}", flag.long);
            for name in flag.env {
                assert!(flat.contains(name), "{name}");
            }
            let default = flag.default.unwrap_or(flag.otherwise).replace('`', "");
            assert!(
                default.is_empty() || flat.contains(&format!("[default: {default}]")),
                "--{}",
                flag.long
            );
        }
        for (_, title) in GROUPS {
            assert!(shown.contains(&format!("\n{title}:\n      --")), "{title}");
        }
        for code in ["  0  ", "  1  ", "  2  ", "  75  ", "  128+n  "] {
            assert!(shown.contains(&format!("\n{code}")), "exit code {code}");
        }
    }

    #[test]
    fn help_fits_a_terminal() {
        for line in help().lines() {
            assert!(line.chars().count() < 80, "too wide: {line}");
            assert_eq!(line.trim_end(), line, "ends in a space: {line}");
        }
    }

    #[test]
    fn words_are_wrapped_at_the_width_and_never_cut() {
        let mut out = String::new();
        let long = "x".repeat(69);
        wrap(
            &mut out,
            &format!("{long} a {} b {long}y c", "z".repeat(66)),
        );
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], format!("{INDENT}{long}"));
        assert_eq!(lines[1].len(), 78);
        assert_eq!(lines[2], format!("{INDENT}b"));
        assert_eq!(lines[4], format!("{INDENT}c"));
        assert_eq!(lines.len(), 5);
    }

    /// `UPDATE_README=1 cargo test` rewrites the block instead of failing.
    #[test]
    fn readme_agrees() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let (start, end) = ("<!-- options -->\n", "<!-- /options -->");
        let now = std::fs::read_to_string(path).unwrap();
        let (head, rest) = now
            .split_once(start)
            .expect("README.md has lost <!-- options -->");
        let (old, tail) = rest
            .split_once(end)
            .expect("README.md has lost <!-- /options -->");
        let new = readme();
        if old == new {
            return;
        }
        #[allow(clippy::disallowed_methods)]
        let update = std::env::var_os("UPDATE_README").is_some_and(|v| v == "1");
        assert!(
            update,
            "README.md is behind the table of options; run: UPDATE_README=1 cargo test readme"
        );
        std::fs::write(path, format!("{head}{start}{new}{end}{tail}")).unwrap();
    }

    #[test]
    fn every_row_of_the_readme_has_four_cells() {
        for row in readme().lines() {
            let bars = row.replace("\\|", "").matches('|').count();
            assert_eq!(bars, 5, "{row}");
            assert_eq!(row.matches('`').count() % 2, 0, "{row}");
        }
    }
}
