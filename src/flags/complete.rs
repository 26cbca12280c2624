//! The table of options as completion scripts for bash, zsh and fish. Never
//! asks the program: the scripts hold all they offer.

use std::fmt::Write as _;

use super::{
    BIN,
    option::{Flag, Kind, List, SHELLS, Shell, Takes},
    table::FLAGS,
};

/// What `orchestrator completions SHELL` prints.
pub(super) fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash(),
        Shell::Zsh => zsh(),
        Shell::Fish => fish(),
    }
}

const VERB: &str = "completions";
/// The verbs, each with what it is for.
const VERBS: [(&str, &str); 3] = [
    (VERB, "Print a completion script."),
    ("manifest", "Print what runs it in a cluster."),
    ("healthy", "Say whether the one that runs is well."),
];

fn verbs() -> String {
    VERBS.map(|(verb, _)| verb).join(" ")
}

fn shells() -> String {
    let names: Vec<&str> = SHELLS.iter().map(|(name, _)| *name).collect();
    names.join(" ")
}

fn bash() -> String {
    let mut names = vec![];
    let mut cases = String::new();
    for flag in FLAGS {
        names.push(format!("--{}", flag.long));
        if flag.is_switch() {
            names.push(format!("--no-{}", flag.long));
        }
        let words = flag.choices().join(" ");
        let offer = match (&flag.takes, flag.kind()) {
            (Takes::Switch(_) | Takes::Print(_), _) => continue,
            (_, Some(Kind::File)) => "kind=file".to_owned(),
            (_, Some(Kind::Directory)) => "kind=directory".to_owned(),
            (_, Some(Kind::Program)) => "kind=command".to_owned(),
            (_, None) if words.is_empty() => "return".to_owned(),
            (_, None) => format!("words='{words}'"),
        };
        let _ = writeln!(cases, "    --{}) {offer} ;;", flag.long);
    }
    let (names, shells, verbs) = (names.join(" "), shells(), verbs());
    // Readline takes the = of --mode=local for a word of its own.
    format!(
        r#"_{BIN}() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words= kind=
  if [[ $cur == "=" ]]; then
    cur=
  elif [[ $prev == "=" ]]; then
    prev=${{COMP_WORDS[COMP_CWORD-2]}}
  fi
  case $prev in
{cases}    {VERB}) words='{shells}' ;;
    *)
      words='{names}'
      if (( COMP_CWORD == 1 )); then
        words+=' {verbs}'
      fi
      ;;
  esac
  if [[ $kind ]]; then
    if [[ $kind != command ]]; then
      compopt -o filenames 2>/dev/null
    fi
    mapfile -t COMPREPLY < <(compgen -A "$kind" -- "$cur")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  fi
}}
complete -F _{BIN} {BIN}
"#
    )
}

fn zsh() -> String {
    let mut specs = String::new();
    for flag in FLAGS {
        let brief = zsh_text(flag.brief);
        let long = format!("--{}", flag.long);
        let action = match (flag.kind(), flag.choices()) {
            (Some(Kind::File), _) => "_files".to_owned(),
            (Some(Kind::Directory), _) => "_files -/".to_owned(),
            (Some(Kind::Program), _) => "_command_names -e".to_owned(),
            (None, []) => " ".to_owned(),
            (None, some) => format!("({})", some.join(" ")),
        };
        let spec = match (flag.shape(), flag.list) {
            (None, _) => format!("{long}[{brief}]"),
            (Some(_), List::No) => format!("{long}=[{brief}]:{}:{action}", noun(flag)),
            (Some(_), List::Hosts | List::Words) => {
                format!("*{long}=[{brief}]:{}:{action}", noun(flag))
            }
        };
        match flag.short {
            // One excludes the other.
            Some(c) => {
                let _ = writeln!(specs, "    '(-{c} {long})'-{c}'[{brief}]' \\");
                let _ = writeln!(specs, "    '(-{c} {long}){spec}' \\");
            }
            None => {
                let _ = writeln!(specs, "    '{spec}' \\");
            }
        }
        if flag.is_switch() {
            let _ = writeln!(specs, "    '--no-{}[Not\\: {brief}]' \\", flag.long);
        }
    }
    // Either from $fpath, where the file is the function, or by source.
    format!(
        "#compdef {BIN}\n\n_{BIN}() {{\n  _arguments -s \\\n{specs}    \
         '1:verb:({verbs})' \\\n    '2:shell:({shells})'\n}}\n\n\
         if [[ \"${{funcstack[1]}}\" == \"_{BIN}\" ]]; then\n  _{BIN} \"$@\"\n\
         else\n  compdef _{BIN} {BIN}\nfi\n",
        shells = shells(),
        verbs = verbs(),
    )
}

/// What zsh calls a value: the shape without what is special to it.
fn noun(flag: &Flag) -> String {
    let shape = match &flag.takes {
        Takes::Text { shape, .. } => shape,
        Takes::Path { .. } => "PATH",
        Takes::Switch(_) | Takes::Print(_) => "",
    };
    let name = |c: &char| c.is_ascii_alphabetic();
    shape
        .chars()
        .take_while(name)
        .collect::<String>()
        .to_ascii_lowercase()
}

/// Inside `[…]` of a spec that stands in single quotes.
fn zsh_text(s: &str) -> String {
    let mut out = String::new();
    for c in s.chars() {
        match c {
            '`' => {}
            '\'' => out.push_str("'\\''"),
            '[' | ']' | ':' | '\\' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

fn fish() -> String {
    let mut out = format!("complete -c {BIN} -f\n");
    for flag in FLAGS {
        let mut names = format!("-l {}", flag.long);
        if let Some(c) = flag.short {
            let _ = write!(names, " -s {c}");
        }
        let value = match (&flag.takes, flag.kind()) {
            (Takes::Switch(_) | Takes::Print(_), _) => String::new(),
            (_, Some(Kind::File)) => " -r -F".to_owned(),
            (_, Some(Kind::Directory)) => " -x -a '(__fish_complete_directories)'".to_owned(),
            (_, Some(Kind::Program)) => " -x -a '(__fish_complete_command)'".to_owned(),
            (_, None) if flag.choices().is_empty() => " -x".to_owned(),
            (_, None) => format!(" -x -a '{}'", flag.choices().join(" ")),
        };
        let brief = fish_text(flag.brief);
        let _ = writeln!(out, "complete -c {BIN} {names}{value} -d '{brief}'");
        if flag.is_switch() {
            let _ = writeln!(
                out,
                "complete -c {BIN} -l no-{} -d 'Not: {brief}'",
                flag.long
            );
        }
    }
    for (verb, brief) in VERBS {
        let _ = writeln!(
            out,
            "complete -c {BIN} -n __fish_use_subcommand -a {verb} -d '{brief}'"
        );
    }
    let _ = writeln!(
        out,
        "complete -c {BIN} -n '__fish_seen_subcommand_from {VERB}' -a '{}'",
        shells()
    );
    out
}

/// Inside single quotes, where fish knows two escapes.
fn fish_text(s: &str) -> String {
    s.replace('`', "")
        .replace('\\', "\\\\")
        .replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    /// What bash writes when it is given `script`, and whether it was content.
    fn run_bash(args: &[&str], script: &str) -> (bool, String) {
        #[allow(clippy::disallowed_methods)]
        let mut bash = Command::new("bash")
            .args(args)
            .env_remove("BASH_ENV")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is needed to test its completions");
        let mut stdin = bash.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).unwrap();
        drop(stdin);
        let out = bash.wait_with_output().unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap())
    }

    /// What bash offers for the last of `words`.
    fn offered(words: &[&str]) -> Vec<String> {
        let quoted: Vec<String> = words.iter().map(|w| format!("'{w}'")).collect();
        let ask = format!(
            "{}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_{BIN}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            bash(),
            quoted.join(" "),
            words.len() - 1
        );
        let (content, out) = run_bash(&["--norc"], &ask);
        assert!(content, "{words:?}");
        out.lines()
            .filter(|l| !l.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The words of a script, for names that are part of longer ones.
    fn words(script: &str) -> Vec<&str> {
        script
            .split(|c: char| c.is_whitespace() || "'=[(){}*".contains(c))
            .collect()
    }

    #[test]
    fn completions_know_every_option() {
        let (bash, zsh, fish) = (bash(), zsh(), fish());
        let mut names: Vec<String> = vec![];
        for flag in FLAGS {
            names.push(flag.long.to_owned());
            if flag.is_switch() {
                names.push(format!("no-{}", flag.long));
            }
        }
        for name in names {
            let long = format!("--{name}");
            assert!(words(&bash).contains(&long.as_str()), "bash: {long}");
            assert!(words(&zsh).contains(&long.as_str()), "zsh: {long}");
            assert!(fish.contains(&format!(" -l {name} ")), "fish: {long}");
        }
        for c in FLAGS.iter().filter_map(|f| f.short) {
            assert!(zsh.contains(&format!("'-{c}'[")), "zsh: -{c}");
            assert!(fish.contains(&format!(" -s {c} ")), "fish: -{c}");
        }
    }

    #[test]
    fn completions_offer_verbs_choices_and_paths() {
        let (zsh, fish) = (zsh(), fish());
        for flag in FLAGS {
            let choices = flag.choices().join(" ");
            let (in_zsh, in_fish) = match flag.kind() {
                Some(Kind::File) => (":_files'".to_owned(), " -r -F ".to_owned()),
                Some(Kind::Directory) => (
                    ":_files -/'".to_owned(),
                    "_complete_directories)".to_owned(),
                ),
                Some(Kind::Program) => (
                    ":_command_names -e'".to_owned(),
                    "_complete_command)".to_owned(),
                ),
                None if choices.is_empty() => continue,
                None => (format!(":({choices})'"), format!(" -a '{choices}' ")),
            };
            let line = |script: &str, name: String| {
                let found = script.lines().find(|l| l.contains(&name));
                found.unwrap_or_default().to_owned()
            };
            let (z, f) = (
                line(&zsh, format!("--{}=", flag.long)),
                line(&fish, format!(" -l {} ", flag.long)),
            );
            assert!(z.contains(&in_zsh), "zsh: {z}");
            assert!(f.contains(&in_fish), "fish: {f}");
        }
        assert!(zsh.contains("'1:verb:(completions manifest healthy)'"));
        assert!(zsh.contains("'2:shell:(bash zsh fish)'"));
        assert!(fish.contains("-n __fish_use_subcommand -a completions "));
        assert!(fish.contains("_from completions' -a 'bash zsh fish'"));
    }

    #[test]
    fn bash_reads_its_script() {
        let (content, _) = run_bash(&["-n"], &bash());
        assert!(content, "{}", bash());
    }

    #[test]
    fn bash_offers_what_can_stand_there() {
        assert_eq!(offered(&[BIN, "--max-at"]), ["--max-attempts"]);
        assert_eq!(offered(&[BIN, "--no-o"]), ["--no-once"]);
        assert_eq!(offered(&[BIN, "compl"]), ["completions"]);
        assert_eq!(offered(&[BIN, "h"]), ["healthy"]);
        assert_eq!(offered(&[BIN, "man"]), ["manifest"]);
        assert!(offered(&[BIN, "--once", "compl"]).is_empty());
        assert_eq!(offered(&[BIN, "completions", ""]), ["bash", "zsh", "fish"]);
        assert_eq!(offered(&[BIN, "--mode", ""]), ["local", "k8s", "process"]);
        assert_eq!(offered(&[BIN, "--mode", "="]), ["local", "k8s", "process"]);
        assert_eq!(offered(&[BIN, "--mode", "=", "p"]), ["process"]);
        assert!(offered(&[BIN, "--interval", ""]).is_empty());
        let here = env!("CARGO_MANIFEST_DIR");
        assert_eq!(
            offered(&[BIN, "--work-file", &format!("{here}/Cargo.t")]),
            [format!("{here}/Cargo.toml")]
        );
        assert_eq!(
            offered(&[BIN, "--state-dir", "=", &format!("{here}/sr")]),
            [format!("{here}/src")]
        );
        assert!(offered(&[BIN, "--state-dir", &format!("{here}/Cargo.t")]).is_empty());
        assert!(offered(&[BIN, "--docker-binary", "bas"]).contains(&"bash".to_owned()));
    }

    /// No zsh or fish to ask: at least quotes and brackets have to close.
    #[test]
    fn quotes_and_brackets_close() {
        for (name, script, escapes) in [("zsh", zsh(), false), ("fish", fish(), true)] {
            for line in script.lines() {
                let (mut open, mut depth) = (false, 0_i32);
                let mut chars = line.chars();
                while let Some(c) = chars.next() {
                    match c {
                        '\\' if escapes || !open => drop(chars.next()),
                        // Within quotes a spec of zsh has escapes of its own.
                        '\\' if open => {
                            let mut ahead = chars.clone();
                            if ahead.next().is_some_and(|c| "[]:\\".contains(c)) {
                                chars = ahead;
                            }
                        }
                        '\'' => open = !open,
                        '[' => depth += 1,
                        ']' => depth -= 1,
                        _ => {}
                    }
                    assert!((0..=3).contains(&depth), "{name}: {line}");
                }
                assert!(!open && depth == 0, "{name}: {line}");
            }
        }
    }

    #[test]
    fn texts_are_quoted_for_their_shell() {
        assert_eq!(zsh_text(r"a `b` it's [c]: \d"), r"a b it'\''s \[c\]\: \\d");
        assert_eq!(fish_text(r"a `b` it's [c]: \d"), r"a b it\'s [c]: \\d");
    }
}
