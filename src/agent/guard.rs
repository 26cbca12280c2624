//! Where a placeholder would make text of a ticket into code: in the script or
//! among the options of a shell, or as the name of a program.
//!
//! Never judges a program it does not know: one that runs its arguments as
//! code under another name goes unnoticed, so this is a net, not a wall.

use super::{
    command::{Slot, Word},
    env_name_ok, words,
};

/// Shells that read a script after `-c`.
const SHELLS: &[&str] = &[
    "sh", "bash", "rbash", "dash", "ash", "hush", "zsh", "rzsh", "ksh", "rksh", "mksh", "lksh",
    "oksh", "loksh", "pdksh", "yash", "posh", "osh", "ysh", "fish", "csh", "tcsh", "rc", "es",
    "xonsh", "elvish", "nu",
];

/// Programs that hand whatever they are given to a shell.
const HAND_OVER: &[&str] = &[
    "su", "runuser", "sg", "newgrp", "ssh", "mosh", "watch", "script", "parallel", "eval",
];

/// A program that runs the one named in its arguments.
struct Wrapper {
    name: &'static str,
    /// Short options that take an argument.
    takes: &'static str,
    /// Arguments of its own before the program.
    own: usize,
}

const fn wrapper(name: &'static str, takes: &'static str, own: usize) -> Wrapper {
    Wrapper { name, takes, own }
}

const WRAPPERS: &[Wrapper] = &[
    wrapper("env", "uCSPa", 0),
    wrapper("busybox", "", 0),
    wrapper("toybox", "", 0),
    wrapper("timeout", "sk", 1),
    wrapper("gtimeout", "sk", 1),
    wrapper("nice", "n", 0),
    wrapper("ionice", "cnpPu", 0),
    wrapper("chrt", "TPD", 1),
    wrapper("taskset", "", 1),
    wrapper("nohup", "", 0),
    wrapper("setsid", "", 0),
    wrapper("stdbuf", "ioe", 0),
    wrapper("unbuffer", "", 0),
    wrapper("tini", "pe", 0),
    wrapper("tini-static", "pe", 0),
    wrapper("dumb-init", "r", 0),
    wrapper("catatonit", "P", 0),
    wrapper("sudo", "ugCDhpRrtTU", 0),
    wrapper("doas", "uCa", 0),
    wrapper("gosu", "", 1),
    wrapper("su-exec", "", 1),
    wrapper("setpriv", "", 0),
    wrapper("chroot", "", 1),
    wrapper("unshare", "SGRw", 0),
    wrapper("nsenter", "tSGW", 0),
    wrapper("xargs", "adEIiLlnPs", 0),
    wrapper("time", "fo", 0),
    wrapper("flock", "wE", 1),
    wrapper("prlimit", "p", 0),
    wrapper("strace", "abeEIoOpPsSuUX", 0),
    wrapper("exec", "a", 0),
    wrapper("command", "", 0),
];

/// Long options of wrappers whose argument is a word of its own.
const LONG: &[&str] = &[
    "--signal",
    "--kill-after",
    "--unset",
    "--chdir",
    "--argv0",
    "--adjustment",
    "--class",
    "--classdata",
    "--input",
    "--output",
    "--error",
    "--user",
    "--group",
    "--host",
    "--prompt",
    "--role",
    "--type",
    "--rewrite",
    "--format",
    "--timeout",
    "--conflict-exit-code",
    "--max-args",
    "--max-procs",
    "--arg-file",
    "--delimiter",
];

/// Why these words must not be a command; `None` if nothing is known against
/// them.
pub(super) fn refusal(argv: &[Word]) -> Option<String> {
    // Text for `env -S` may hold another `env -S`.
    look(argv, 8).err()
}

fn look(argv: &[Word], depth: u32) -> Result<(), String> {
    let Some((program, rest)) = argv.split_first() else {
        return Ok(());
    };
    if let Some(slot) = program.slots().next() {
        return Err(format!(
            "{{{}}} stands in the name of a program, so that a ticket would choose what runs; \
             name the program itself",
            slot.name()
        ));
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err("nested too deeply".to_owned());
    };
    let name = base(&program.raw);
    if let Some(shell) = shell(name) {
        return script(shell, rest, true);
    }
    if HAND_OVER.contains(&name) {
        return match rest.iter().flat_map(Word::slots).next() {
            Some(slot) => Err(code(
                slot,
                &format!("`{name}` hands its arguments to a shell"),
            )),
            None => Ok(()),
        };
    }
    let Some(wrapper) = WRAPPERS.iter().find(|w| w.name == name) else {
        return Ok(());
    };
    wrapped(wrapper, argv, depth)?;
    // Where the options of a wrapper were misread, a shell is still a shell.
    let mut behind = rest;
    while let Some((word, after)) = behind.split_first() {
        if let Some(shell) = shell(base(&word.raw)) {
            script(shell, after, false)?;
        }
        behind = after;
    }
    Ok(())
}

/// Finds the program that `wrapper` runs, and looks at that.
fn wrapped(wrapper: &Wrapper, argv: &[Word], depth: u32) -> Result<(), String> {
    let name = wrapper.name;
    let ours = |word: &Word| match word.slots().find(|slot| slot.is_foreign()) {
        Some(slot) => Err(code(
            slot,
            &format!("it stands among the options of `{name}`"),
        )),
        None => Ok(()),
    };
    let mut rest = argv.get(1..).unwrap_or(&[]);
    let mut own = wrapper.own;
    let mut options = true;
    while let Some((word, after)) = rest.split_first() {
        let raw = word.raw.as_str();
        rest = after;
        if options && raw == "--" {
            options = false;
        } else if options && raw.starts_with('-') {
            ours(word)?;
            let option = Opt::of(raw, wrapper.takes, LONG);
            let argument = match (&option.argument, after.split_first()) {
                (Argument::Next, Some((next, after))) => {
                    rest = after;
                    Some(next.clone())
                }
                (Argument::Here(text), _) => Some(Word::literal(text)),
                (Argument::Next | Argument::None, _) => None,
            };
            if let Some(argument) = argument {
                ours(&argument)?;
                let splits = option.letter == Some('S') || raw.starts_with("--split-string");
                if name == "env" && splits {
                    return split_by_env(word, &argument, rest, depth);
                }
            }
        } else if is_assignment(word) {
            // Its name is literal, and text of a ticket is welcome in a value.
        } else if own > 0 {
            ours(word)?;
            own -= 1;
            // `flock FILE -c SCRIPT`
            if name == "flock" && after.first().is_some_and(|w| is_script_option(&w.raw)) {
                return script("sh", after, true);
            }
        } else {
            return look(&[std::slice::from_ref(word), after].concat(), depth);
        }
    }
    Ok(())
}

/// `env -S 'sh -c' …`: env splits the text itself and goes on with its words.
fn split_by_env(option: &Word, text: &Word, rest: &[Word], depth: u32) -> Result<(), String> {
    if let Some(slot) = option.slots().chain(text.slots()).next() {
        return Err(code(slot, "`env -S` splits it into arguments"));
    }
    let mut argv = vec![Word::literal("env")];
    let words = words::split(&text.raw).map_err(|why| format!("in the text of env -S: {why}"))?;
    argv.extend(words.iter().map(|word| Word::literal(word)));
    argv.extend_from_slice(rest);
    look(&argv, depth)
}

/// Looks at what a shell is given: up to its script, or the file it reads one
/// from, no placeholder may stand, not even as an option, since a ticket could
/// then say `-c`. What follows are the script's own arguments.
///
/// `certain` is false where the word may be no program at all, but an argument
/// that happens to be called like one: then it takes a `-c` to be refused.
fn script(shell: &str, words: &[Word], certain: bool) -> Result<(), String> {
    // fish takes a script as the option's argument, and goes on with options.
    let fish = shell == "fish";
    let takes = if fish { "cCdDofp" } else { "" };
    let long = &[
        "--rcfile",
        "--init-file",
        "--emulate",
        "--command",
        "--commands",
        "--init-command",
        "--rc",
        "--config",
        "--features",
        "--profile",
        "--debug",
        "--debug-output",
    ];
    let mut seen: Vec<Slot> = Vec::new();
    let (mut reads_script, mut reads_input) = (false, false);
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        let raw = word.raw.as_str();
        rest = after;
        if raw == "--" || raw == "-" {
            let operands_only = if reads_script { fish } else { reads_input };
            if let (false, Some(operand)) = (operands_only, after.first()) {
                seen.extend(operand.slots());
            }
            break;
        }
        seen.extend(word.slots());
        if !raw.starts_with(['-', '+']) {
            break;
        }
        let option = Opt::of(raw, takes, long);
        reads_script |= is_script_option(raw);
        let mut skip = usize::from(option.argument == Argument::Next);
        if !fish && !raw.starts_with("--") {
            reads_input |= raw.contains('s');
            // Each of these wants a name, in the words that follow.
            skip += raw.matches(['o', 'O']).count();
        }
        for _ in 0..skip {
            match rest.split_first() {
                // Whatever is an option is not the argument of one.
                Some((next, after)) if fish || !next.raw.starts_with(['-', '+']) => {
                    seen.extend(next.slots());
                    rest = after;
                }
                _ => break,
            }
        }
    }
    match seen.first() {
        Some(slot) if certain || reads_script => {
            let why = if fish && reads_script {
                "`fish` reads scripts and options there (an argument may stand behind `--`)".into()
            } else if reads_script {
                format!("it stands in the script of `{shell} -c`")
            } else {
                format!("`{shell}` reads options or the name of a script there")
            };
            Err(code(*slot, &why))
        }
        _ => Ok(()),
    }
}

/// The one sentence for everything that would run text of a ticket.
fn code(slot: Slot, why: &str) -> String {
    format!(
        "{{{}}} would let a ticket run code: {why}; write \"${}\" in a script of your own instead",
        slot.name(),
        slot.variable()
    )
}

/// `-c`, also among others as in `-ec`, and `--command`.
fn is_script_option(raw: &str) -> bool {
    if let Some(long) = raw.strip_prefix("--") {
        long.starts_with("command") || long.starts_with("init-command")
    } else {
        raw.strip_prefix('-')
            .is_some_and(|s| s.contains(['c', 'C']))
    }
}

#[derive(PartialEq)]
enum Argument {
    None,
    Here(String),
    Next,
}

/// An option, short or long, and where its argument is.
struct Opt {
    /// The short one that takes the argument.
    letter: Option<char>,
    argument: Argument,
}

impl Opt {
    fn of(raw: &str, takes: &str, long: &[&str]) -> Opt {
        if raw.starts_with("--") {
            let argument = match raw.split_once('=') {
                Some((_, value)) => Argument::Here(value.to_owned()),
                None if long.contains(&raw) || raw == "--split-string" => Argument::Next,
                None => Argument::None,
            };
            return Opt {
                letter: None,
                argument,
            };
        }
        let found = raw.char_indices().skip(1).find(|(_, c)| takes.contains(*c));
        let Some((at, letter)) = found else {
            return Opt {
                letter: None,
                argument: Argument::None,
            };
        };
        let argument = match raw.get(at + 1..).unwrap_or("") {
            "" => Argument::Next,
            text => Argument::Here(text.to_owned()),
        };
        Opt {
            letter: Some(letter),
            argument,
        }
    }
}

fn is_assignment(word: &Word) -> bool {
    word.raw
        .split_once('=')
        .is_some_and(|(name, _)| env_name_ok(name))
}

/// The program's name without its directory.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The shell that `name` is, also as `bash5`, `zsh-5.9` or `bash-static`.
fn shell(name: &str) -> Option<&'static str> {
    let plain = name.strip_suffix("-static").unwrap_or(name);
    let plain = plain.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    SHELLS.iter().find(|shell| **shell == plain).copied()
}

#[cfg(test)]
mod tests {
    use super::super::Command;

    fn fine(text: &str) {
        if let Err(why) = Command::parse(text) {
            panic!("{text}: {why}");
        }
    }

    fn refused(text: &str) -> String {
        Command::parse(text).expect_err(text)
    }

    #[test]
    fn a_placeholder_in_a_shells_script_is_refused_with_the_variable_to_use() {
        let why = refused("sh -c 'agent {summary}'");
        assert!(why.contains("{summary}"), "{why}");
        assert!(why.contains("script of `sh -c`"), "{why}");
        assert!(why.contains("\"$RECAC_ITEM_SUMMARY\""), "{why}");
        for text in [
            "sh -c {id}",
            "sh -c 'echo {id}' {id}",
            "/bin/bash -c 'x {url} y'",
            "bash5 -c {id}",
            "/usr/local/bin/zsh-5.9 -c {id}",
            "bash-static -c {id}",
            "ksh93 -c {id}",
            "dash -ec {id}",
            "bash -lc {id}",
            "bash -l -c {id}",
            "bash -c -l {id}",
            "bash -c -- {id}",
            "bash -c - {id}",
            "bash +c {id}",
            "bash -eo pipefail -c {id}",
            "bash -euo pipefail -c {id}",
            "bash -ceo pipefail {id}",
            "bash -o pipefail +o posix -c {id}",
            "bash -O extglob -c {id}",
            "bash --rcfile /etc/x -c {id}",
            "bash --rcfile=/etc/x -c {id}",
            "bash --init-file F --noprofile -c {id}",
            "zsh --emulate sh -c {id}",
            "zsh -opipefail -c {id}",
            "ash -c {workspace}",
            "mksh -c {id}",
            "tcsh -c {id}",
            "csh -fc {id}",
            "sh -c{id}",
            "sh -{id} x",
        ] {
            refused(text);
        }
    }

    #[test]
    fn a_ticket_gives_a_shell_no_options_and_no_file() {
        for text in [
            "sh {summary} {description}",
            "sh {id}.sh",
            "bash -o {id} x",
            "bash --rcfile {id} x",
            "sh -s {summary}",
            "sh -x {id}",
            "sh -- {id}",
        ] {
            refused(text);
        }
        fine("sh -s -- {summary}");
        fine("sh run.sh {id} -c {summary}");
        fine("sh -x run.sh {summary}");
        fine("sh -- run.sh {summary}");
    }

    #[test]
    fn an_argument_after_the_script_is_fine() {
        for text in [
            r#"sh -c 'agent "$1"' sh {summary}"#,
            r#"sh -c 'agent "$RECAC_ITEM_SUMMARY" ${id}' {id}"#,
            r#"bash -euo pipefail -c 'agent "$@"' -- {summary} -c {id}"#,
            r#"bash -c -- 'agent "$@"' sh {summary}"#,
            r#"env A=b bash -c 'agent "$1"' sh {summary}"#,
            r#"busybox sh -c 'agent "$1"' sh {summary}"#,
            "sh -c 'f() {{ x; }; f'",
        ] {
            fine(text);
        }
    }

    #[test]
    fn fish_reads_scripts_and_options_in_its_own_way() {
        for text in [
            "fish -c {id}",
            "fish -c'echo {id}'",
            "fish -lc {id}",
            "fish --command {id}",
            "fish --command=x{id}",
            "fish -C {id}",
            "fish -C ls -c {id}",
            "fish --init-command ls --command {id}",
            // A summary that begins with `-C` would be one more script.
            "fish -c 'echo $argv' {summary}",
        ] {
            refused(text);
        }
        assert!(refused("fish -c 'echo $argv' {summary}").contains("`--`"));
        fine("fish -c 'echo $argv' -- {summary}");
        fine("fish -c 'echo $argv' x {summary}");
        fine("fish run.fish {summary}");
    }

    #[test]
    fn a_shell_is_found_behind_whatever_runs_it() {
        for text in [
            "env sh -c {id}",
            "/usr/bin/env -i A=b PATH=/bin sh -c {id}",
            "env -u HOME -C /srv sh -c {id}",
            "busybox sh -c {id}",
            "busybox ash -c {id}",
            "toybox sh -c {id}",
            "timeout 10m sh -c {id}",
            "timeout -s KILL -k 5 10m bash -lc {id}",
            "timeout --signal KILL 10m sh -c {id}",
            "nice -n 10 sh -c {id}",
            "nice -10 sh -c {id}",
            "nohup sh -c {id}",
            "setsid -w sh -c {id}",
            "stdbuf -oL -e 0 sh -c {id}",
            "tini -- sh -c {id}",
            "dumb-init sh -c {id}",
            "sudo -u agent -- sh -c {id}",
            "doas -u agent sh -c {id}",
            "chroot /x /bin/sh -c {id}",
            "xargs -n 1 sh -c {id}",
            "ionice -c 2 -n 0 sh -c {id}",
            "time -f %e sh -c {id}",
            "unshare -rm sh -c {id}",
            "exec sh -c {id}",
            "nice env timeout 5 busybox sh -ec {id}",
            "env --strange word sh -c {id}",
            "flock /x sh -c {id}",
            "flock /x -c {id}",
            "flock -w 5 /x -c {id}",
            "env sh {id}",
        ] {
            refused(text);
        }
    }

    #[test]
    fn env_that_splits_text_itself_is_followed() {
        for text in [
            "env -S 'sh -c {id}'",
            "env -S 'agent {id}'",
            "env -S'agent {id}'",
            "env -vS 'agent {id}'",
            "env --split-string='agent {id}'",
            "env --split-string 'agent {id}'",
            "env -S 'sh -c' {id}",
            "env -S'sh -c' {id}",
            "env -i -S 'A=b sh -c' {id}",
            "env --split-string='sh -c' {id}",
            "env -S 'env -S \"sh -c\"' {id}",
        ] {
            refused(text);
        }
        fine("env -S 'agent --summary' {summary}");
        fine("env -S 'sh run.sh' {summary}");
    }

    #[test]
    fn programs_that_hand_over_to_a_shell_get_no_text_of_a_ticket() {
        for text in [
            "su -c {id}",
            "su agent -c 'x {id}'",
            "su --command={id} agent",
            "runuser -u agent -- agent {id}",
            "ssh builder agent {summary}",
            "timeout 5 ssh builder agent {summary}",
            "watch agent {id}",
        ] {
            assert!(refused(text).contains("to a shell"), "{text}");
        }
        fine("su agent -c 'agent \"$RECAC_ITEM_ID\"'");
        fine("agent --transport ssh {summary}");
        fine("timeout 5 agent ssh {summary}");
    }

    #[test]
    fn a_ticket_never_chooses_the_program() {
        for text in [
            "{id}",
            "/bin/{id} x",
            "{workspace}/run",
            "env {summary}",
            "env A=b {summary}",
            "env {id}=x agent",
            "timeout 5 {summary}",
            "timeout -s KILL 5 {summary}",
            "sudo -u root {summary}",
            "env -{id} agent",
            "env -C {id} agent",
            "timeout {attempt} {id}",
            "timeout {id} agent",
            "chroot {id} agent",
        ] {
            refused(text);
        }
        assert!(refused("{id}").contains("choose what runs"));
    }

    #[test]
    fn an_agents_own_arguments_are_its_own() {
        for text in [
            "agent -c {id}",
            "env agent -c {summary}",
            "env A={summary} agent --text {id}",
            "env -C {workspace} agent {id}",
            "timeout 1h agent {id} {summary}",
            "nohup agent --shell bash {summary}",
            "agent --shell bash -c {id}",
            "setsid -w agent {summary}",
            "tini -g -- agent {summary}",
            "fisherman -c {id}",
            "shellcheck -c {id}",
        ] {
            fine(text);
        }
    }
}
