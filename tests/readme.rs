//! That README.md is true: every block of it is read by what it is written
//! for, and every name in it is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::Path,
    process::Command,
    time::Duration,
};

use recac_orchestrator::{
    agent,
    core::{End, Fingerprint, Hold, Outcome, Past, RunId, Stamp},
    flags::{self, Asked},
    report::{Again, Comment},
    runtime::kube::{deploy, manifest, template::Template},
    source::{
        file::{entry, outcomes, plan},
        repo::Repos,
    },
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn readme() -> String {
    fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap()
}

/// The blocks between fences, with their language.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(rest), Some(_)) => {
                assert_eq!(rest, "", "a fence ends with nothing behind it");
                found.extend(open.take());
            }
            (None, Some((_, body))) => {
                *body += line;
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    found
}

fn blocks_of(language: &str) -> Vec<String> {
    let all = blocks(&readme()).into_iter();
    let found: Vec<String> = all.filter(|(l, _)| l == language).map(|(_, b)| b).collect();
    assert!(!found.is_empty(), "README.md has no block of {language}");
    found
}

#[test]
fn every_block_is_of_a_kind_that_is_tested() {
    for (language, body) in blocks(&readme()) {
        let known = [
            "sh",
            "crontab",
            "ini",
            "dockerfile",
            "json",
            "json pod",
            "json template",
            "text comment",
            "jsonl",
        ];
        assert!(known.contains(&language.as_str()), "{language:?}: {body}");
    }
}

// --- command lines

/// Whether the program takes these words, in this environment.
fn takes(words: &[String], env: &BTreeMap<String, String>) -> Result<(), String> {
    let argv = words.iter().map(OsString::from);
    let env = |name: &str| match name {
        "HOME" => Some("/home/user".into()),
        _ => env.get(name).map(OsString::from),
    };
    match flags::parse(argv, &env) {
        Ok(Asked::Run(_) | Asked::Text(_) | Asked::Manifest(_) | Asked::Healthy(_)) => Ok(()),
        Err(bad) => Err(format!("orchestrator {words:?}: {bad}")),
    }
}

/// The lines of a script, those that a backslash continues as one.
fn lines(script: &str) -> Vec<String> {
    let script = script.replace("\\\n", " ");
    let lines = script.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// What the orchestrator is given on this line, if it is called there.
fn call(line: &str) -> Option<Vec<String>> {
    // What goes to files and further programs is the shell's.
    let words = agent::split(line).unwrap();
    let words: Vec<String> = words
        .into_iter()
        .take_while(|word| !word.contains('>') && word != "|")
        .collect();
    match words.first()?.as_str() {
        "orchestrator" | "/usr/local/bin/orchestrator" => Some(words[1..].to_vec()),
        "docker" if words[1] == "run" => {
            let image = words.iter().rposition(|w| w == "recac-orchestrator")?;
            Some(words[image + 1..].to_vec())
        }
        _ => None,
    }
}

fn bash_takes(script: &str) {
    let out = Command::new("bash")
        .args(["-n", "-c", script])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{script}\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn scripts_are_scripts_and_their_command_lines_are_understood() {
    let (image, _) = dockerfile(&blocks_of("dockerfile")[0]);
    let mut calls = 0;
    for script in blocks_of("sh") {
        bash_takes(&script);
        for line in lines(&script) {
            let Some(words) = call(&line) else { continue };
            calls += 1;
            let env = match line.starts_with("docker") {
                true => image.clone(),
                false => BTreeMap::new(),
            };
            takes(&words, &env).unwrap();
        }
    }
    assert!(calls >= 4, "only {calls} calls were found");
}

#[test]
fn the_line_for_cron_has_five_fields_and_a_command() {
    for line in blocks_of("crontab").iter().flat_map(|block| lines(block)) {
        assert!(
            !line.contains('%'),
            "cron takes % for an end of line: {line}"
        );
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        let lawful = |c: char| c.is_ascii_digit() || "*/,-".contains(c);
        assert!(
            fields[..5]
                .iter()
                .all(|f| !f.is_empty() && f.chars().all(lawful)),
            "{line}"
        );
        bash_takes(fields[5]);
        takes(
            &call(fields[5]).expect("an absolute path"),
            &BTreeMap::new(),
        )
        .unwrap();
    }
}

// --- systemd

const UNIT_KEYS: &[(&str, &[&str])] = &[
    ("Unit", &["Description", "Wants", "After"]),
    (
        "Service",
        &[
            "User",
            "ExecStart",
            "EnvironmentFile",
            "Environment",
            "StateDirectory",
            "StateDirectoryMode",
            "KillMode",
            "OOMPolicy",
            "Restart",
            "RestartPreventExitStatus",
        ],
    ),
    ("Install", &["WantedBy"]),
];

/// Section, key and value of every line.
fn unit(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in lines(text) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap();
        let known = UNIT_KEYS.iter().find(|(name, _)| *name == section);
        let (_, keys) = known.unwrap_or_else(|| panic!("there is no section {section:?}"));
        assert!(keys.contains(&key), "[{section}] knows no {key}");
        found.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    found
}

#[test]
fn the_units_are_units_and_the_program_takes_what_they_give_it() {
    let mut environment = BTreeMap::new();
    let mut started = Vec::new();
    for block in blocks_of("ini") {
        for (section, key, value) in unit(&block) {
            assert!(!value.is_empty(), "{key}");
            match (section.as_str(), key.as_str()) {
                ("Service", "ExecStart") => started.push(call(&value).unwrap()),
                ("Service", "Environment") => {
                    let (name, value) = value.split_once('=').unwrap();
                    environment.insert(name.to_owned(), value.to_owned());
                }
                _ => {}
            }
        }
    }
    assert_eq!(started.len(), 1);
    takes(&started[0], &BTreeMap::new()).unwrap();
    takes(&started[0], &environment).unwrap();
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("systemd-analyze is not here");
        return;
    }
    let dir = std::env::temp_dir().join(format!("recac-units-{}", std::process::id()));
    let name = "recac-orchestrator.service";
    fs::create_dir_all(dir.join(format!("{name}.d"))).unwrap();
    let [whole, addition] = blocks_of("ini").try_into().unwrap();
    // The program need not be installed where the tests run.
    let program = env!("CARGO_BIN_EXE_orchestrator");
    let whole = whole.replace("/usr/local/bin/orchestrator", program);
    fs::write(dir.join(name), whole).unwrap();
    fs::write(dir.join(format!("{name}.d/process.conf")), addition).unwrap();
    let out = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(dir.join(name))
        .output()
        .unwrap();
    fs::remove_dir_all(&dir).unwrap();
    // It also speaks of the units of the machine.
    let said = String::from_utf8_lossy(&out.stderr);
    let ours: Vec<&str> = said.lines().filter(|l| l.contains("recac-")).collect();
    assert!(ours.is_empty(), "{said}");
}

// --- container

/// The variables it sets, and its instructions.
fn dockerfile(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let mut place = String::new();
    let (mut env, mut instructions) = (BTreeMap::new(), Vec::new());
    for line in lines(text) {
        let (instruction, rest) = line.split_once(' ').unwrap();
        match instruction {
            "FROM" => assert_eq!(rest, "scratch"),
            "COPY" => {
                let (_, to) = rest.rsplit_once(' ').unwrap();
                assert!(to.ends_with('/'), "{rest}");
                place = format!("{to}orchestrator");
            }
            "ENV" => {
                let pairs = rest.split(' ').map(|pair| pair.split_once('=').unwrap());
                env.extend(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())));
            }
            "ENTRYPOINT" => {
                let words: Vec<String> = serde_json::from_str(rest).expect("the JSON form");
                assert_eq!(words, [place.as_str()]);
            }
            other => panic!("{other} is not expected in a Dockerfile of ours"),
        }
        instructions.push(instruction.to_owned());
    }
    (env, instructions)
}

#[test]
fn the_dockerfile_starts_from_nothing_and_needs_no_shell() {
    let (env, instructions) = dockerfile(&blocks_of("dockerfile")[0]);
    assert_eq!(instructions, ["FROM", "COPY", "ENV", "ENTRYPOINT"]);
    takes(&[], &env).unwrap();
    // That of a cluster has the binary where `manifest` looks for it.
    let image = &blocks_of("dockerfile")[1];
    let (_, instructions) = dockerfile(image);
    assert_eq!(instructions, ["FROM", "COPY", "ENTRYPOINT"]);
    assert!(image.contains("\"/orchestrator\""));
}

// --- Kubernetes

fn job_settings() -> manifest::Settings {
    manifest::Settings {
        namespace: "agents".into(),
        pull: flags::PullPolicy::Always,
        secret: "s".into(),
        service_account: None,
        start_timeout: Duration::from_secs(600),
        agent_timeout: Duration::from_secs(7200),
        template: None,
    }
}

#[test]
fn the_templates_can_be_laid_over_a_job_and_are_found_in_it() {
    for text in blocks_of("json template") {
        let mut settings = job_settings();
        let template = Template::parse(&text).unwrap();
        template.check(&settings).unwrap();
        let plain = manifest::job(&settings, &manifest::sample("x"));
        settings.template = Some(template);
        let job = manifest::job(&settings, &manifest::sample("x"));
        assert_ne!(job, plain, "{text}");
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["restartPolicy"], "Never");
        assert_eq!(pod["containers"][0]["volumeMounts"][0]["name"], "workspace");
    }
}

#[test]
fn the_sidecar_is_one_and_takes_its_environment() {
    for text in blocks_of("json pod") {
        let pod: serde_json::Value = serde_json::from_str(&text).unwrap();
        let sidecar = &pod["spec"]["initContainers"][0];
        assert_eq!(sidecar["restartPolicy"], "Always");
        let env = sidecar["env"].as_array().unwrap().iter();
        let env = env.map(|var| {
            let text = |key: &str| var[key].as_str().unwrap().to_owned();
            (text("name"), text("value"))
        });
        takes(&[], &env.collect()).unwrap();
        for mount in sidecar["volumeMounts"].as_array().unwrap() {
            let volumes = pod["spec"]["volumes"].as_array().unwrap();
            assert!(volumes.iter().any(|v| v["name"] == mount["name"]));
        }
    }
}

/// Every verb of the printed role stands in the table, and no other.
#[test]
fn the_table_of_permissions_is_the_role() {
    let list = deploy::deploy(&deploy::Deploy {
        owner: "default",
        namespace: None,
        image: "o",
        given: &[],
        leader_elect: true,
        work_file: true,
        outcomes: Some("recac-orchestrator-outcomes"),
        forwarded: &[],
        files: &[],
    });
    let items = list["items"].as_array().unwrap();
    let role = items.iter().find(|item| item["kind"] == "Role").unwrap();
    let mut granted = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let what = rule["resources"][0].as_str().unwrap();
        let verbs = rule["verbs"].as_array().unwrap().iter();
        granted.extend(verbs.map(|verb| format!("{what} {}", verb.as_str().unwrap())));
    }
    let readme = readme();
    let (_, table) = readme
        .split_once("| resource | verbs | what for |\n|---|---|---|\n")
        .unwrap();
    let mut listed = BTreeSet::new();
    let mut what = String::new();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if cells[1] != "…" {
            what = cells[1].replace('`', "");
        }
        let verbs = cells[2].split('`').skip(1).step_by(2);
        listed.extend(verbs.map(|verb| format!("{what} {verb}")));
    }
    assert_eq!(listed, granted);
}

// --- files

#[test]
fn the_work_file_is_one_and_nothing_in_it_is_unknown() {
    for text in blocks_of("json") {
        let mut entries = Vec::new();
        entry::each(text.as_bytes(), |entry| entries.push(entry.unwrap())).unwrap();
        let unknown: Vec<&String> = entries.iter().flat_map(|e| &e.unknown).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let repos = Repos {
            hosts: vec![],
            default: None,
            needed: true,
        };
        let plan = plan::plan(text.as_bytes(), &outcomes::Told::default(), &repos).unwrap();
        assert!(plan.complaints.is_empty(), "{:?}", plan.complaints);
        for item in &plan.items {
            // As the text says, one waits for the other.
            let waits = matches!(&item.hold, Some(Hold::Blocked(_)));
            assert_eq!(waits, item.id == "ABC-7", "{item:?}");
        }
    }
}

#[test]
fn the_outcomes_are_lines_that_are_read_and_have_the_keys_that_are_written() {
    let keys = |line: &str| -> Vec<String> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).unwrap();
        object.keys().cloned().collect()
    };
    let written = recac_orchestrator::report::line(&outcome(), "");
    for text in blocks_of("jsonl") {
        let (told, wrong) = outcomes::read(text.as_bytes()).unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(told.last("ABC-6").is_some() && told.last("ABC-7").is_some());
        for line in text.lines() {
            assert_eq!(keys(line), keys(&written));
        }
    }
}

#[test]
fn the_comment_is_the_one_that_is_written() {
    let past = |attempt, seconds, code, reason: &str| {
        let from = Stamp(1_795_489_507_123);
        let to = from.plus(Duration::from_secs(seconds));
        Past::new(attempt, from, to, Some(code), reason)
    };
    let (first, last) = (
        past(1, 7200, 143, "timed out after 2h"),
        past(2, 725, 1, "exit code 1"),
    );
    let outcome = Outcome {
        item_id: "SHOP-7".into(),
        source_id: "10007".into(),
        fingerprint: Fingerprint(1),
        end: End::Failed,
        reason: last.reason.clone(),
        attempts: 2,
        exit_code: last.exit_code,
        started: last.started,
        finished: last.ended(),
        history: vec![first],
        run: Some(RunId {
            name: "recac-agent-shop-7-2".into(),
            uid: "cab37fb19f9eb497".into(),
        }),
    };
    let tail = "running 14 tests\ntest cart::total ... FAILED";
    let comment = Comment::of(&outcome, tail, Again::Without("recac-agent-failed"));
    assert_eq!(blocks_of("text comment"), [comment.to_wiki() + "\n"]);
}

fn outcome() -> Outcome {
    use recac_orchestrator::core::{End, Fingerprint, Outcome, Stamp};
    Outcome {
        item_id: "A".into(),
        source_id: "A".into(),
        fingerprint: Fingerprint(1),
        end: End::Failed,
        reason: String::new(),
        attempts: 1,
        exit_code: None,
        started: Stamp(0),
        finished: Stamp(0),
        history: vec![],
        run: None,
    }
}

// --- names

/// What stands between backticks outside of blocks.
fn code(text: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line.starts_with("```") {
            true => inside = !inside,
            false if !inside => {
                prose += line;
                prose.push('\n');
            }
            false => {}
        }
    }
    let pieces = prose.split('`').skip(1).step_by(2);
    pieces.map(str::to_owned).collect()
}

#[test]
fn every_option_and_script_that_is_named_is_there() {
    let readme = readme();
    let Ok(Asked::Text(help)) = flags::parse(["--help".into()], &|_| None) else {
        panic!("no help");
    };
    let docker = ["--init", "--volume"];
    for piece in code(&readme) {
        for word in piece.split([' ', '=', '\\', '|']) {
            if word.starts_with("--") && !docker.contains(&word) && word != "--cap-drop" {
                let there = help.lines().any(|l| {
                    let mut words = l.split([' ', '=', ',', '[']);
                    words.any(|w| w == word)
                });
                assert!(there || piece.starts_with("--pull"), "{word} is no option");
            }
            if word.starts_with("scripts/") {
                assert!(Path::new(ROOT).join(word).is_file(), "{word} is not there");
            }
        }
    }
    for script in blocks_of("sh").iter().flat_map(|b| lines(b)) {
        if script.starts_with("scripts/") {
            assert!(Path::new(ROOT).join(script).is_file());
        }
    }
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let Ok(Asked::Text(help)) = flags::parse(["--help".into()], &|_| None) else {
        panic!("no help");
    };
    let (_, codes) = help.split_once("Exit codes:").unwrap();
    let first = |l: &str| l.split_whitespace().next().unwrap_or_default().to_owned();
    let told: Vec<String> = codes
        .lines()
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .map(first)
        .collect();
    let readme = readme();
    let (_, table) = readme
        .split_once("| code | meaning |\n|---|---|\n")
        .unwrap();
    let rows = table.lines().take_while(|l| l.starts_with('|'));
    let listed: Vec<String> = rows
        .map(|l| l.split('|').nth(1).unwrap().replace(' ', ""))
        .collect();
    assert_eq!(listed, told);
}

#[test]
fn links_within_lead_somewhere() {
    let readme = readme();
    for piece in readme.split("](#").skip(1) {
        let anchor = piece.split(')').next().unwrap();
        let heading = |l: &str| {
            l.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .replace(' ', "-")
        };
        let there = readme
            .lines()
            .any(|l| l.starts_with('#') && heading(l) == anchor);
        assert!(there, "#{anchor}");
    }
}
