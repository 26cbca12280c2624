use super::*;
use crate::core::{Fingerprint, Stamp};

fn agent(place: Place) -> Agent {
    Agent {
        owner: "default".to_owned(),
        place,
        command: Command::parse(DEFAULT).unwrap(),
        image: "agent:1".to_owned(),
        provider: "openrouter".to_owned(),
        model: "some/model".to_owned(),
        max_attempts: 3,
        github_host: "github.com".to_owned(),
        extra: Vec::new(),
        cpus: Some(Millicores(500)),
        memory: None,
        environment: BTreeMap::new(),
    }
}

fn with(place: Place, environment: &[(&str, &str)], extra: &[&str]) -> Agent {
    let environment = environment.iter();
    Agent {
        environment: environment
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect(),
        extra: extra
            .iter()
            .map(|rule| EnvRule::parse(rule).unwrap())
            .collect(),
        ..agent(place)
    }
}

fn item() -> Item {
    Item {
        id: "RD-42".to_owned(),
        source_id: "10042".to_owned(),
        summary: "mend the roof".to_owned(),
        description: "it *leaks*".to_owned(),
        repo_url: Some("https://github.com/o/r".to_owned()),
        url: Some("https://jira/browse/RD-42".to_owned()),
        env: BTreeMap::new(),
        facts: Vec::new(),
        fingerprint: Fingerprint(0xabc),
        hold: None,
    }
}

const FIRST: Try<'static> = Try {
    number: 7,
    attempt: 1,
    history: &[],
};

fn spec(agent: &Agent, item: &Item) -> Spec {
    agent.spec(item, &FIRST, "/workspace").unwrap()
}

fn names(spec: &Spec) -> Vec<&str> {
    spec.env.iter().map(|var| var.name.as_str()).collect()
}

fn value<'a>(spec: &'a Spec, name: &str) -> Option<&'a Value> {
    spec.env
        .iter()
        .find(|var| var.name == name)
        .map(|var| &var.value)
}

fn plain(text: &str) -> Option<Value> {
    Some(Value::Plain(text.to_owned()))
}

fn secret(text: &str) -> Option<Value> {
    Some(Value::Secret(text.to_owned()))
}

#[test]
fn an_agent_gets_exactly_this_in_this_order() {
    let env = [
        ("GITHUB_TOKEN", "gh-token"),
        ("OPENROUTER_API_KEY", "or-key"),
        ("OPENAI_API_KEY", "other"),
        ("GITHUB_API_KEY", "api-key"),
        ("RECAC_DB_URL", "postgres://"),
        ("RECAC_DB_TYPE", "postgres"),
        ("RECAC_MANAGER_FREQUENCY", ""),
        ("JIRA_API_TOKEN", "tracker"),
        ("PATH", "/bin"),
        ("MINE", "mine"),
    ];
    let mut item = item();
    item.facts = vec![
        ("JIRA_TICKET".to_owned(), "RD-42".to_owned()),
        ("RECAC_ITEM_STATUS".to_owned(), "Open".to_owned()),
    ];
    item.env.insert("B".to_owned(), "b".to_owned());
    item.env.insert("A_TOKEN".to_owned(), "a".to_owned());
    let spec = spec(&with(Place::Container, &env, &["MINE", "ZED=z"]), &item);
    let shown: Vec<(&str, &str, bool)> = spec
        .env
        .iter()
        .map(|v| {
            let secret = matches!(v.value, Value::Secret(_));
            (v.name.as_str(), v.value.text().unwrap(), secret)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("RECAC_ITEM_ID", "RD-42", false),
            ("RECAC_ITEM_SUMMARY", "mend the roof", false),
            ("RECAC_ITEM_DESCRIPTION", "it *leaks*", false),
            ("RECAC_ITEM_URL", "https://jira/browse/RD-42", false),
            ("RECAC_REPO_URL", "https://github.com/o/r", false),
            ("RECAC_RUN", "recac-agent-rd-42-7", false),
            ("RECAC_ATTEMPT", "1", false),
            ("RECAC_MAX_ATTEMPTS", "3", false),
            ("RECAC_WORKSPACE", "/workspace", false),
            ("RECAC_PROVIDER", "openrouter", false),
            ("RECAC_MODEL", "some/model", false),
            ("RECAC_PROJECT_ID", "RD-42", false),
            ("RECAC_MAX_ITERATIONS", "20", false),
            ("GIT_TERMINAL_PROMPT", "0", false),
            ("GIT_AUTHOR_NAME", "RECAC Agent", false),
            ("GIT_COMMITTER_NAME", "RECAC Agent", false),
            ("GIT_AUTHOR_EMAIL", "agent@recac.io", false),
            ("GIT_COMMITTER_EMAIL", "agent@recac.io", false),
            ("JIRA_TICKET", "RD-42", false),
            ("RECAC_ITEM_STATUS", "Open", false),
            ("A_TOKEN", "a", true),
            ("B", "b", false),
            ("RECAC_DB_TYPE", "postgres", false),
            ("OPENROUTER_API_KEY", "or-key", true),
            ("GITHUB_TOKEN", "gh-token", true),
            ("GITHUB_API_KEY", "api-key", true),
            ("RECAC_GITHUB_API_KEY", "api-key", true),
            ("RECAC_DB_URL", "postgres://", true),
            ("GIT_CONFIG_COUNT", "1", false),
            (
                "GIT_CONFIG_KEY_0",
                "credential.https://github.com.helper",
                false
            ),
            ("GIT_CONFIG_VALUE_0", GIT_HELPER, false),
            ("MINE", "mine", false),
            ("ZED", "z", false),
        ]
    );
    assert_eq!(spec.secrets().count(), 6);
    assert_eq!(spec.name, "recac-agent-rd-42-7");
    assert_eq!(
        (spec.image.as_str(), spec.workspace.as_str()),
        ("agent:1", "/workspace")
    );
    assert_eq!((spec.cpus, spec.memory), (Some(Millicores(500)), None));
    assert_eq!(spec.command.unwrap().last().unwrap(), "it *leaks*");
    assert_eq!(spec.warnings, [""; 0]);
}

#[test]
fn the_labels_are_those_of_the_design() {
    let past = Past::new(1, Stamp(1_000), Stamp(3_500), Some(1), "exit code 1");
    let history = [past];
    let attempt = Try {
        number: 9,
        attempt: 2,
        history: &history,
    };
    let spec = agent(Place::Pod)
        .spec(&item(), &attempt, "/workspace")
        .unwrap();
    assert_eq!(
        spec.labels,
        [
            ("recac.io/item-id", "RD-42".to_owned()),
            ("recac.io/source-id", "10042".to_owned()),
            ("recac.io/owner", "default".to_owned()),
            ("recac.io/attempt", "2".to_owned()),
            ("recac.io/fingerprint", "0000000000000abc".to_owned()),
            ("recac.io/history", Past::to_text(&history)),
            (
                "app.kubernetes.io/managed-by",
                "recac-orchestrator".to_owned()
            ),
        ]
    );
    assert_eq!(spec.name, "recac-agent-rd-42-9");
    assert_eq!(value(&spec, "RECAC_ATTEMPT"), plain("2").as_ref());
}

#[test]
fn a_long_history_keeps_its_newest_part() {
    let history: Vec<Past> = (1..=500)
        .map(|n| Past::new(n, Stamp(0), Stamp(1), None, &"x".repeat(200)))
        .collect();
    let text = history_text(&history);
    assert!(text.len() <= HISTORY_SIZE && text.len() > HISTORY_SIZE - 300);
    let kept = Past::of_text(&text);
    assert!(history.ends_with(&kept));
    assert_eq!(history_text(&history[..2]), Past::to_text(&history[..2]));
}

#[test]
fn what_an_item_does_not_have_is_not_set() {
    let mut agent = agent(Place::Container);
    agent.command = Command::parse("agent --at {url}").unwrap();
    let item = Item {
        repo_url: None,
        url: None,
        ..item()
    };
    let spec = spec(&agent, &item);
    assert_eq!(value(&spec, "RECAC_ITEM_URL"), None);
    assert_eq!(value(&spec, "RECAC_REPO_URL"), None);
    assert_eq!(spec.command.unwrap(), ["agent", "--at", ""]);
    agent.command = Command::parse("agent {repo_url}").unwrap();
    assert!(
        agent
            .spec(&item, &FIRST, "/w")
            .unwrap_err()
            .contains("repository")
    );
}

#[test]
fn the_key_of_the_chosen_provider_is_forwarded_and_no_other() {
    let keys = [
        ("OPENROUTER_API_KEY", "a"),
        ("OPENAI_API_KEY", "b"),
        ("ANTHROPIC_API_KEY", "c"),
        ("GEMINI_API_KEY", "d"),
    ];
    let given = |provider: &str, environment: &[(&str, &str)]| {
        let mut agent = with(Place::Container, environment, &[]);
        agent.provider = provider.to_owned();
        let spec = spec(&agent, &item());
        spec.secrets()
            .map(|(name, _)| name.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(given("openrouter", &keys), ["OPENROUTER_API_KEY"]);
    assert_eq!(given("OpenAI", &keys), ["OPENAI_API_KEY"]);
    assert_eq!(given("anthropic", &keys), ["ANTHROPIC_API_KEY"]);
    assert_eq!(given("gemini", &keys), ["GEMINI_API_KEY"]);
    assert_eq!(given("Google", &keys), ["GEMINI_API_KEY"]);
    assert_eq!(given("ollama", &keys), keys.map(|(name, _)| name));
    assert_eq!(given("ollama", &keys[1..2]), ["OPENAI_API_KEY"]);
    // An empty variable is an unset one.
    assert_eq!(given("openai", &[("OPENAI_API_KEY", "")]), [""; 0]);
    assert_eq!(given("openai", &[]), [""; 0]);
}

#[test]
fn the_trackers_token_is_given_only_where_it_is_asked_for() {
    let env = [("JIRA_API_TOKEN", "tracker")];
    let without = spec(&with(Place::Process, &env, &[]), &item());
    assert_eq!(value(&without, "JIRA_API_TOKEN"), None);
    let asked = spec(&with(Place::Process, &env, &["JIRA_API_TOKEN"]), &item());
    assert_eq!(value(&asked, "JIRA_API_TOKEN"), secret("tracker").as_ref());
}

#[test]
fn the_operator_has_the_last_word_and_no_name_stands_twice() {
    let env = [
        ("A", "forwarded"),
        ("GITHUB_TOKEN", "own"),
        ("EMPTY", ""),
        ("RECAC_MAX_ITERATIONS", "5"),
    ];
    let extra = [
        "A",
        "GITHUB_TOKEN=given",
        "UNSET",
        "EMPTY",
        "BLANK=",
        "GIT_AUTHOR_NAME=Me",
        "B=1",
        "B=2",
        "MY_PASSWORD=p",
    ];
    let mut item = item();
    item.env.insert("A".to_owned(), "of the item".to_owned());
    item.env
        .insert("GITHUB_TOKEN".to_owned(), "of the item".to_owned());
    let spec = spec(&with(Place::Container, &env, &extra), &item);
    for (name, is) in [
        ("A", plain("forwarded")),
        ("GITHUB_TOKEN", secret("given")),
        ("UNSET", None),
        ("EMPTY", None),
        ("BLANK", plain("")),
        ("GIT_AUTHOR_NAME", plain("Me")),
        ("GIT_COMMITTER_NAME", plain("RECAC Agent")),
        ("B", plain("2")),
        ("MY_PASSWORD", secret("p")),
        ("RECAC_MAX_ITERATIONS", plain("5")),
    ] {
        assert_eq!(value(&spec, name), is.as_ref(), "{name}");
    }
    let mut all = names(&spec);
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn a_plain_process_inherits_this_and_nothing_else() {
    let env = [
        ("AWS_PROFILE", "x"),
        ("GIT_CONFIG_COUNT", "3"),
        ("HOME", "/home/me"),
        ("HTTPS_PROXY", "p"),
        ("LANG", ""),
        ("LC_ALL", "C"),
        ("LC_TIME", "C"),
        ("LD_PRELOAD", "x"),
        ("PATH", "/bin"),
        ("RECAC_JIRA_API_TOKEN", "t"),
        ("SSH_AUTH_SOCK", "x"),
        ("no_proxy", "n"),
    ];
    let first = spec(&with(Place::Process, &env, &[]), &item());
    let all = names(&first);
    assert_eq!(
        all[..7],
        [
            "PATH",
            "HOME",
            "no_proxy",
            "HTTPS_PROXY",
            "LC_ALL",
            "LC_TIME",
            "RECAC_ITEM_ID"
        ]
    );
    for name in [
        "AWS_PROFILE",
        "LD_PRELOAD",
        "RECAC_JIRA_API_TOKEN",
        "SSH_AUTH_SOCK",
        "LANG",
    ] {
        assert_eq!(value(&first, name), None, "{name}");
    }
    assert_eq!(value(&first, "GIT_CONFIG_COUNT"), plain("1").as_ref());
    // Whatever comes later wins.
    let mut item = item();
    item.env.insert("HOME".to_owned(), "/item".to_owned());
    let spec = spec(&with(Place::Process, &env, &["PATH=/opt"]), &item);
    assert_eq!(value(&spec, "HOME"), plain("/item").as_ref());
    assert_eq!(value(&spec, "PATH"), plain("/opt").as_ref());
    let contained = with(Place::Container, &env, &[]);
    assert_eq!(names(&self::spec(&contained, &item))[0], "RECAC_ITEM_ID");
}

#[test]
fn no_value_of_a_secret_reaches_a_pod() {
    let env = [
        ("GITHUB_TOKEN", "gh"),
        ("OPENROUTER_API_KEY", "or"),
        ("RECAC_DB_URL", "db"),
        ("SOME_TOKEN", "s"),
        ("PLAIN", "p"),
    ];
    let agent = with(
        Place::Pod,
        &env,
        &["SOME_TOKEN", "OTHER_TOKEN", "PLAIN", "GONE"],
    );
    let spec = spec(&agent, &item());
    assert_eq!(agent.check(), Ok(()));
    assert_eq!(spec.secrets().count(), 0);
    let keys: Vec<(&str, &Value)> = spec
        .env
        .iter()
        .filter(|var| var.value.text().is_none())
        .map(|var| (var.name.as_str(), &var.value))
        .collect();
    let key = |name: &str| Value::Key(name.to_owned());
    assert_eq!(
        keys,
        [
            ("RECAC_GITHUB_API_KEY", &key("GITHUB_API_KEY")),
            ("SOME_TOKEN", &key("SOME_TOKEN")),
            ("OTHER_TOKEN", &key("OTHER_TOKEN")),
        ]
    );
    assert_eq!(value(&spec, "PLAIN"), plain("p").as_ref());
    assert_eq!(value(&spec, "GITHUB_TOKEN"), None);
}

#[test]
fn a_secret_given_as_a_value_is_refused_in_a_pod_with_advice() {
    let agent = with(Place::Pod, &[], &["A_TOKEN=hunter2"]);
    let why = agent.check().unwrap_err();
    assert!(
        why.contains("--agent-secret") && why.contains("--agent-env A_TOKEN"),
        "{why}"
    );
    assert!(!why.contains("hunter2"));
    assert_eq!(
        with(Place::Container, &[], &["A_TOKEN=hunter2"]).check(),
        Ok(())
    );
    let mut item = item();
    item.env.insert("A_TOKEN".to_owned(), "hunter2".to_owned());
    let why = self::agent(Place::Pod).unfit(&item).unwrap();
    assert!(why.contains("A_TOKEN") && !why.contains("hunter2"), "{why}");
    assert!(self::agent(Place::Pod).spec(&item, &FIRST, "/w").is_err());
    assert_eq!(self::agent(Place::Container).unfit(&item), None);
}

#[test]
fn a_process_has_no_image_to_take_a_command_from() {
    let mut agent = agent(Place::Process);
    agent.command = Command::parse("image").unwrap();
    assert!(agent.check().unwrap_err().contains("image"));
    agent.place = Place::Container;
    assert_eq!(agent.check(), Ok(()));
    assert_eq!(spec(&agent, &item()).command, None);
}

#[test]
fn settings_that_leave_no_room_for_an_item_are_refused() {
    let big = "x".repeat(120_000);
    let rules: Vec<String> = (0..5).map(|n| format!("V{n}={big}")).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    assert_eq!(with(Place::Container, &[], &rules[..4]).check(), Ok(()));
    assert!(with(Place::Container, &[], &rules).check().is_err());
    let long = format!("V={big}{big}");
    let why = with(Place::Container, &[], &[&long]).check().unwrap_err();
    assert!(why.starts_with("the variable V "), "{why}");
}

#[test]
fn an_item_may_not_set_our_variables_even_if_its_source_lets_it() {
    let mut item = item();
    item.env.insert("RECAC_RUN".to_owned(), "x".to_owned());
    assert!(agent(Place::Container).spec(&item, &FIRST, "/w").is_err());
    assert!(agent(Place::Container).unfit(&item).is_some());
}

#[test]
fn long_text_is_cut_in_variable_and_argument_alike() {
    let mut item = item();
    item.description = "ä".repeat(100_000);
    let spec = spec(&agent(Place::Container), &item);
    let last = "[shortened by the orchestrator: 98304 of 200000 bytes; the rest is at \
                https://jira/browse/RD-42]";
    let text = value(&spec, "RECAC_ITEM_DESCRIPTION")
        .unwrap()
        .text()
        .unwrap();
    assert_eq!(text.lines().last(), Some(last));
    assert_eq!(spec.command.as_deref().unwrap().last().unwrap(), text);
    assert_eq!(spec.warnings.len(), 1);
    assert!(spec.warnings[0].contains("description"));
    assert_eq!(agent(Place::Container).unfit(&item), None);
}

#[test]
fn what_no_program_can_be_given_is_refused_by_name() {
    let agent = agent(Place::Container);
    let told = |change: &dyn Fn(&mut Item)| {
        let mut item = item();
        change(&mut item);
        let why = agent.spec(&item, &FIRST, "/workspace").err();
        assert_eq!(agent.unfit(&item).is_some(), why.is_some());
        why.unwrap_or_default()
    };
    let fact = |name: &str, size| (name.to_owned(), "x".repeat(size));
    assert_eq!(told(&|_| {}), "");
    assert!(told(&|i| i.summary = "a\0b".to_owned()).contains("RECAC_ITEM_SUMMARY"));
    assert!(told(&|i| i.env = [fact("BIG", room("BIG") + 1)].into()).contains("variable BIG"));
    assert_eq!(told(&|i| i.env = [fact("BIG", room("BIG"))].into()), "");
    let facts = |count| move |i: &mut Item| i.facts = vec_of(count);
    assert_eq!(told(&facts(7)), "");
    assert!(told(&facts(8)).contains("together"));
    assert!(told(&|i| i.url = Some("x".repeat(200_000))).contains("RECAC_ITEM_URL"));

    fn vec_of(count: usize) -> Vec<(String, String)> {
        (0..count)
            .map(|n| (format!("F{n}"), "x".repeat(131_000)))
            .collect()
    }
}

#[test]
fn an_argument_of_many_small_parts_is_seen_too() {
    let mut agent = agent(Place::Container);
    agent.command = Command::parse("a {summary}{summary}{summary}{summary}").unwrap();
    let mut item = item();
    item.summary = "x".repeat(32_767);
    assert_eq!(agent.unfit(&item), None);
    item.summary = "x".repeat(32_768);
    assert!(agent.unfit(&item).unwrap().contains("argument 1"));
}

#[test]
fn unfit_and_spec_agree_on_any_item() {
    let mut seed = 0x0123_4567_89ab_cdef_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let commands = [
        "image",
        "a {id}",
        DEFAULT,
        "a {summary}{description}{summary}{url}",
    ];
    let mut seen = [0; 2];
    for _ in 0..400 {
        let mut agent = agent(Place::Container);
        agent.command = Command::parse(commands[next(4)]).unwrap();
        let mut text = || {
            let size = [10, 5_000, 40_000, 131_000, 131_072][next(5)];
            "x".repeat(size - next(10))
        };
        let mut item = item();
        item.summary = text();
        item.description = text();
        item.url = Some(text());
        item.env = [("A".to_owned(), text()), ("B".to_owned(), text())].into();
        item.facts = (0..6).map(|n| (format!("F{n}"), text())).collect();
        if next(8) == 0 {
            item.facts[0].1.push('\0');
        }
        let why = agent.spec(&item, &FIRST, "/workspace").err();
        assert_eq!(agent.unfit(&item).is_some(), why.is_some(), "{why:?}");
        seen[usize::from(why.is_some())] += 1;
    }
    assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
}

#[test]
fn the_secrets_to_hide_are_all_that_we_hold() {
    let env = [
        ("JIRA_API_TOKEN", "t"),
        ("PATH", "/bin"),
        ("RECAC_DB_URL", "d"),
    ];
    let agent = with(
        Place::Container,
        &env,
        &["X_KEY=x", "PLAIN=p", "JIRA_API_TOKEN"],
    );
    let all: Vec<_> = agent.secrets().collect();
    assert_eq!(
        all,
        [
            ("JIRA_API_TOKEN", "t"),
            ("RECAC_DB_URL", "d"),
            ("X_KEY", "x")
        ]
    );
}

#[test]
fn debug_shows_no_secret_of_agent_or_run() {
    let env = [("GITHUB_TOKEN", "hunter2"), ("A_KEY", "hunter2")];
    let agent = with(Place::Container, &env, &["B_TOKEN=hunter2", "A_KEY"]);
    let mut item = item();
    item.env
        .insert("C_PASSWORD".to_owned(), "hunter2".to_owned());
    let text = format!("{agent:?} {:?}", spec(&agent, &item));
    assert!(text.contains("GITHUB_TOKEN") && text.contains("C_PASSWORD"));
    assert!(!text.contains("hunter2"), "{text}");
}
