//! Every option, once. The parser, `--help`, the README block and the shell
//! completions are all read off [`FLAGS`]; nothing about an option is written
//! anywhere else.

use std::time::Duration;

use crate::agent;

use super::{
    config::{LogFormat, Mode, Outcomes, Poller, PullPolicy},
    jira::Deployment,
    option::{Flag, Group, Kind, List, Print, Takes},
    value,
};

const FLAG: Flag = Flag {
    long: "",
    short: None,
    env: &[],
    takes: Takes::Print(Print::Help),
    list: List::No,
    default: None,
    otherwise: "",
    private: false,
    dashes: false,
    group: Group::This,
    brief: "",
    more: "",
};

const MODES: &[&str] = &["local", "k8s", "process"];
const POLLERS: &[&str] = &["jira", "file"];
const DEPLOYMENTS: &[&str] = &["cloud", "dc"];
const POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const FORMATS: &[&str] = &["text", "json"];

/// In the order of the help.
pub(super) const FLAGS: &[Flag] = &[
    Flag {
        long: "poller",
        env: &["RECAC_POLLER"],
        takes: Takes::Text {
            shape: "KIND",
            choices: POLLERS,
            set: |d, v| match v {
                "file" | "filesystem" => put(&mut d.config.poller, Poller::File),
                "jira" => put(&mut d.config.poller, Poller::Jira),
                _ => Err(no_choice(v, POLLERS)),
            },
        },
        default: Some("jira"),
        group: Group::Work,
        brief: "Where items come from.",
        more: "`jira`: tickets; `file` (or `filesystem`): the entries of a JSON file.",
        ..FLAG
    },
    Flag {
        long: "interval",
        env: &["RECAC_ORCHESTRATOR_INTERVAL"],
        takes: Takes::Text {
            shape: "TIME",
            choices: &[],
            set: |d, v| put(&mut d.config.interval, value::at_least(v, SECOND)?),
        },
        default: Some("1m"),
        group: Group::Work,
        brief: "How often the source is polled.",
        more: "The first poll is at once. At least 1s.",
        ..FLAG
    },
    Flag {
        long: "jira-url",
        env: &["JIRA_URL", "RECAC_JIRA_URL"],
        takes: Takes::Text {
            shape: "URL",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.url, value::jira_url(v)?),
        },
        group: Group::Work,
        brief: "Where Jira is, as people open it.",
        more: "For example `https://acme.atlassian.net`, or `https://jira.acme.example/jira`.",
        ..FLAG
    },
    Flag {
        long: "jira-username",
        env: &["JIRA_USERNAME", "JIRA_EMAIL", "RECAC_JIRA_USERNAME"],
        takes: Takes::Text {
            shape: "NAME",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.username, Some(value::line(v)?)),
        },
        group: Group::Work,
        brief: "Whose token it is: on Jira Cloud an e-mail address.",
        more: "Without it the token is sent as Bearer, as personal access tokens of Data Center and tokens of service accounts are.",
        ..FLAG
    },
    Flag {
        long: "jira-token-file",
        env: &["RECAC_JIRA_TOKEN_FILE"],
        takes: Takes::Path {
            kind: Kind::File,
            set: |d, v| put(&mut d.config.jira.token_file, Some(v)),
        },
        group: Group::Work,
        brief: "A file that holds the API token; read at each use.",
        more: "Else the token is the value of `JIRA_API_TOKEN` (or `RECAC_JIRA_API_TOKEN`).",
        ..FLAG
    },
    Flag {
        long: "jira-label",
        env: &["RECAC_JIRA_LABEL", "RECAC_ORCHESTRATOR_JIRA_LABEL"],
        takes: Takes::Text {
            shape: "LABEL",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.label, value::label(v)?),
        },
        default: Some("recac-agent"),
        group: Group::Work,
        brief: "Tickets with this label get an agent.",
        ..FLAG
    },
    Flag {
        long: "jira-query",
        env: &["RECAC_JIRA_QUERY", "RECAC_ORCHESTRATOR_JIRA_QUERY"],
        takes: Takes::Text {
            shape: "JQL",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.query, Some(value::line(v)?)),
        },
        group: Group::Work,
        brief: "Tickets that this query finds get an agent, instead.",
        more: "Sent as it is; tickets that are done, or carry the done or failed label, are left out.",
        ..FLAG
    },
    Flag {
        long: "jira-done-label",
        env: &["RECAC_JIRA_DONE_LABEL"],
        takes: Takes::Text {
            shape: "LABEL",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.done_label, value::label(v)?),
        },
        otherwise: "`<label>-done`",
        group: Group::Work,
        brief: "Put on a ticket whose agent succeeded.",
        ..FLAG
    },
    Flag {
        long: "jira-failed-label",
        env: &["RECAC_JIRA_FAILED_LABEL"],
        takes: Takes::Text {
            shape: "LABEL",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.failed_label, value::label(v)?),
        },
        otherwise: "`<label>-failed`",
        group: Group::Work,
        brief: "Put on a ticket whose agents failed.",
        more: "Taking it off asks for another try.",
        ..FLAG
    },
    Flag {
        long: "jira-start-status",
        env: &["RECAC_JIRA_START_STATUS"],
        takes: Takes::Text {
            shape: "NAME|auto|none",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.start_status, value::line(v)?),
        },
        default: Some("auto"),
        group: Group::Work,
        brief: "Where a ticket is moved when its agent starts.",
        more: "A status or transition by its name; `auto`: from to-do to any status in progress.",
        ..FLAG
    },
    Flag {
        long: "jira-done-status",
        env: &["RECAC_JIRA_DONE_STATUS"],
        takes: Takes::Text {
            shape: "NAME|auto|none",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.done_status, value::line(v)?),
        },
        default: Some("none"),
        group: Group::Work,
        brief: "Where it is moved when its agent succeeded.",
        more: "`auto`: to any status that is done.",
        ..FLAG
    },
    Flag {
        long: "jira-failed-status",
        env: &["RECAC_JIRA_FAILED_STATUS"],
        takes: Takes::Text {
            shape: "NAME|none",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.failed_status, value::failed_status(v)?),
        },
        default: Some("none"),
        group: Group::Work,
        brief: "Where it is moved when its agents failed.",
        ..FLAG
    },
    Flag {
        long: "jira-blocks-link",
        env: &["RECAC_JIRA_BLOCKS_LINK"],
        takes: Takes::Text {
            shape: "NAME",
            choices: &[],
            set: |d, v| put(&mut d.config.jira.blocks_link, value::line(v)?),
        },
        default: Some("Blocks"),
        group: Group::Work,
        brief: "The type of link by which one ticket blocks another.",
        ..FLAG
    },
    Flag {
        long: "jira-deployment",
        env: &["RECAC_JIRA_DEPLOYMENT"],
        takes: Takes::Text {
            shape: "KIND",
            choices: DEPLOYMENTS,
            set: |d, v| {
                let kind = match v {
                    "cloud" => Deployment::Cloud,
                    "dc" => Deployment::DataCenter,
                    _ => return Err(no_choice(v, DEPLOYMENTS)),
                };
                put(&mut d.config.jira.deployment, Some(kind))
            },
        },
        otherwise: "what Jira says",
        group: Group::Work,
        brief: "Which kind of Jira it is: Cloud or Data Center.",
        ..FLAG
    },
    Flag {
        long: "jira-ca-file",
        env: &["RECAC_JIRA_CA_FILE", "SSL_CERT_FILE"],
        takes: Takes::Path {
            kind: Kind::File,
            set: |d, v| put(&mut d.config.jira.ca_file, Some(v)),
        },
        group: Group::Work,
        brief: "Authorities to trust for Jira instead of the public ones.",
        more: "A PEM file, for a private authority.",
        ..FLAG
    },
    Flag {
        long: "work-file",
        env: &["RECAC_WORK_FILE"],
        takes: Takes::Path {
            kind: Kind::File,
            set: |d, v| put(&mut d.config.work_file, v),
        },
        default: Some("work_items.json"),
        group: Group::Work,
        brief: "The JSON file of items.",
        ..FLAG
    },
    Flag {
        long: "outcomes",
        env: &["RECAC_OUTCOMES"],
        takes: Takes::Path {
            kind: Kind::File,
            set: |d, v| {
                // The other form of this option. As a path it would quietly
                // make a file of that name.
                let name = v.to_str().and_then(|v| v.strip_prefix("configmap:"));
                let place = match name {
                    Some(name) => Outcomes::ConfigMap(value::object(name).map_err(|_| {
                        format!("{v:?} names no ConfigMap; write configmap:NAME, with {OBJECT}")
                    })?),
                    None => Outcomes::File(v),
                };
                put(&mut d.outcomes, Some(place))
            },
        },
        otherwise: "`<work file without .json>.outcomes.jsonl`; in k8s mode \
                    `configmap:recac-orchestrator-outcomes` (another owner: `…-<owner>`)",
        group: Group::Work,
        brief: "Where a work file's outcomes are kept.",
        more: "A file, or `configmap:NAME` in k8s mode.",
        ..FLAG
    },
    Flag {
        long: "default-repo",
        env: &["RECAC_DEFAULT_REPO"],
        takes: Takes::Text {
            shape: "URL",
            choices: &[],
            set: |d, v| put(&mut d.config.default_repo, Some(value::repo(v)?)),
        },
        group: Group::Work,
        brief: "The repository of items that name none.",
        ..FLAG
    },
    Flag {
        long: "repo-host",
        env: &["RECAC_REPO_HOSTS"],
        takes: Takes::Text {
            shape: "HOST[:PORT]",
            choices: &[],
            set: |d, v| push(&mut d.config.repo_hosts, value::host(v)?),
        },
        list: List::Hosts,
        otherwise: "any",
        group: Group::Work,
        brief: "A host agents may be sent to.",
        more: "May be given several times, or several with commas.",
        ..FLAG
    },
    Flag {
        long: "mode",
        env: &["RECAC_ORCHESTRATOR_MODE"],
        takes: Takes::Text {
            shape: "KIND",
            choices: MODES,
            set: |d, v| match v {
                "local" | "docker" => put(&mut d.config.mode, Mode::Local),
                "k8s" | "kubernetes" => put(&mut d.config.mode, Mode::Kubernetes),
                "process" => put(&mut d.config.mode, Mode::Process),
                _ => Err(no_choice(v, MODES)),
            },
        },
        default: Some("local"),
        group: Group::Agents,
        brief: "Where agents run.",
        more: "`local` (or `docker`): in containers; `k8s` (or `kubernetes`): as Jobs; \
               `process`: as plain processes.",
        ..FLAG
    },
    Flag {
        long: "image",
        env: &["RECAC_ORCHESTRATOR_IMAGE"],
        takes: Takes::Text {
            shape: "IMAGE",
            choices: &[],
            set: |d, v| put(&mut d.config.image, value::image(v)?),
        },
        default: Some("ghcr.io/process-failed-successfully/recac-agent:latest"),
        group: Group::Agents,
        brief: "The image of an agent's container.",
        ..FLAG
    },
    Flag {
        long: "image-pull-policy",
        env: &["RECAC_IMAGE_PULL_POLICY"],
        takes: Takes::Text {
            shape: "POLICY",
            choices: POLICIES,
            set: |d, v| {
                let policy = match v.to_ascii_lowercase().as_str() {
                    "always" => PullPolicy::Always,
                    "ifnotpresent" => PullPolicy::IfNotPresent,
                    "never" => PullPolicy::Never,
                    _ => return Err(no_choice(v, POLICIES)),
                };
                put(&mut d.image_pull_policy, Some(policy))
            },
        },
        otherwise: "`Always` for k8s, `IfNotPresent` for local",
        group: Group::Agents,
        brief: "When the image is pulled.",
        more: "For docker `--pull always`, `missing` or `never`.",
        ..FLAG
    },
    Flag {
        long: "agent-provider",
        env: &["RECAC_AGENT_PROVIDER"],
        takes: Takes::Text {
            shape: "NAME",
            choices: &[],
            set: |d, v| put(&mut d.config.agent_provider, value::line(v)?),
        },
        default: Some("openrouter"),
        group: Group::Agents,
        brief: "Given to the agent as `RECAC_PROVIDER`.",
        more: "Its API key is forwarded.",
        ..FLAG
    },
    Flag {
        long: "agent-model",
        env: &["RECAC_AGENT_MODEL"],
        takes: Takes::Text {
            shape: "NAME",
            choices: &[],
            set: |d, v| put(&mut d.config.agent_model, value::line(v)?),
        },
        default: Some("mistralai/devstral-2512:free"),
        group: Group::Agents,
        brief: "Given to the agent as `RECAC_MODEL`.",
        ..FLAG
    },
    Flag {
        long: "agent-command",
        env: &["RECAC_AGENT_COMMAND"],
        takes: Takes::Text {
            shape: "COMMAND",
            choices: &[],
            set: |d, v| put(&mut d.config.agent_command, value::command(v)?),
        },
        default: Some(agent::DEFAULT),
        group: Group::Agents,
        brief: "What is run as the agent.",
        more: "Split as a shell would, without a shell. `{id}`, `{summary}`, \
               `{description}`, `{repo_url}`, `{url}`, `{attempt}` and `{workspace}` are \
               filled in; `{{` is a brace. The one word `image` means the image's own command.",
        ..FLAG
    },
    Flag {
        long: "agent-env",
        env: &["RECAC_AGENT_ENV"],
        takes: Takes::Text {
            shape: "NAME[=VALUE]",
            choices: &[],
            set: |d, v| push(&mut d.config.agent_env, value::env(v)?),
        },
        list: List::Words,
        private: true,
        group: Group::Agents,
        brief: "A further variable for the agent.",
        more: "`NAME` forwards one, `NAME=VALUE` sets one. May be given several times.",
        ..FLAG
    },
    Flag {
        long: "agent-cpus",
        env: &["RECAC_AGENT_CPUS"],
        takes: Takes::Text {
            shape: "N",
            choices: &[],
            set: |d, v| put(&mut d.config.agent_cpus, Some(value::cpus(v)?)),
        },
        otherwise: "no limit",
        group: Group::Agents,
        brief: "Processors an agent may use.",
        more: "In Kubernetes notation: `2`, `500m`.",
        ..FLAG
    },
    Flag {
        long: "agent-memory",
        env: &["RECAC_AGENT_MEMORY"],
        takes: Takes::Text {
            shape: "SIZE",
            choices: &[],
            set: |d, v| put(&mut d.config.agent_memory, Some(value::memory(v)?)),
        },
        otherwise: "no limit",
        group: Group::Agents,
        brief: "Memory an agent may use.",
        more: "In Kubernetes notation: `512Mi`, `4Gi`.",
        ..FLAG
    },
    Flag {
        long: "github-host",
        env: &["RECAC_GITHUB_HOST", "GH_HOST"],
        takes: Takes::Text {
            shape: "HOST[:PORT]",
            choices: &[],
            set: |d, v| put(&mut d.config.github_host, value::host(v)?),
        },
        default: Some("github.com"),
        group: Group::Agents,
        brief: "The only host whose git is given `GITHUB_TOKEN`.",
        ..FLAG
    },
    Flag {
        long: "docker-arg",
        env: &["RECAC_DOCKER_ARGS"],
        takes: Takes::Text {
            shape: "ARG",
            choices: &[],
            set: |d, v| push(&mut d.config.docker_args, v.to_owned()),
        },
        list: List::Words,
        // People write --env=TOKEN=… here.
        private: true,
        dashes: true,
        group: Group::Agents,
        brief: "One more argument for `docker run`.",
        more: "Stands before the image. May be given several times.",
        ..FLAG
    },
    Flag {
        long: "docker-binary",
        env: &["RECAC_DOCKER_BINARY"],
        takes: Takes::Path {
            kind: Kind::Program,
            set: |d, v| put(&mut d.config.docker_binary, v),
        },
        default: Some("docker"),
        group: Group::Agents,
        brief: "The docker client.",
        more: "`podman` works too.",
        ..FLAG
    },
    Flag {
        long: "max-agents",
        env: &["RECAC_MAX_AGENTS"],
        takes: Takes::Text {
            shape: "N",
            choices: &[],
            set: |d, v| put(&mut d.config.max_agents, value::count(v, 0)?),
        },
        default: Some("5"),
        group: Group::Limits,
        brief: "Live runs at once.",
        more: "0 starts nothing and finishes what runs.",
        ..FLAG
    },
    Flag {
        long: "max-attempts",
        env: &["RECAC_MAX_ATTEMPTS"],
        takes: Takes::Text {
            shape: "N",
            choices: &[],
            set: |d, v| put(&mut d.config.max_attempts, value::count(v, 1)?),
        },
        default: Some("3"),
        group: Group::Limits,
        brief: "Attempts at one item before it has failed.",
        ..FLAG
    },
    Flag {
        long: "retry-backoff",
        env: &["RECAC_RETRY_BACKOFF"],
        takes: Takes::Text {
            shape: "TIME",
            choices: &[],
            set: |d, v| put(&mut d.config.retry_backoff, value::duration(v)?),
        },
        default: Some("30s"),
        group: Group::Limits,
        brief: "Rest after the first failed attempt.",
        more: "Doubles with each further one, up to 1h.",
        ..FLAG
    },
    Flag {
        long: "agent-timeout",
        env: &["RECAC_AGENT_TIMEOUT"],
        takes: Takes::Text {
            shape: "TIME",
            choices: &[],
            set: |d, v| put(&mut d.config.agent_timeout, value::positive(v)?),
        },
        default: Some("2h"),
        group: Group::Limits,
        brief: "How long an agent may run before it is stopped.",
        ..FLAG
    },
    Flag {
        long: "start-timeout",
        env: &["RECAC_START_TIMEOUT"],
        takes: Takes::Text {
            shape: "TIME",
            choices: &[],
            set: |d, v| put(&mut d.config.start_timeout, value::positive(v)?),
        },
        default: Some("10m"),
        group: Group::Limits,
        brief: "How long an agent may take to start.",
        more: "The pull of its image included.",
        ..FLAG
    },
    Flag {
        long: "stop-grace",
        env: &["RECAC_STOP_GRACE"],
        takes: Takes::Text {
            shape: "TIME",
            choices: &[],
            set: |d, v| put(&mut d.config.stop_grace, value::duration(v)?),
        },
        default: Some("10m"),
        group: Group::Limits,
        brief: "How long an agent may go on after its item was withdrawn.",
        ..FLAG
    },
    Flag {
        long: "namespace",
        env: &["RECAC_ORCHESTRATOR_NAMESPACE"],
        takes: Takes::Text {
            shape: "NAME",
            choices: &[],
            set: |d, v| put(&mut d.config.namespace, Some(value::namespace(v)?)),
        },
        otherwise: "the pod's own in a cluster, else the kubeconfig context's, else `default`",
        group: Group::Kubernetes,
        brief: "Where Jobs live.",
        ..FLAG
    },
    Flag {
        long: "job-template",
        env: &["RECAC_JOB_TEMPLATE"],
        takes: Takes::Path {
            kind: Kind::File,
            set: |d, v| put(&mut d.config.job_template, Some(v)),
        },
        group: Group::Kubernetes,
        brief: "JSON file laid over every Job.",
        more: "As kubectl's strategic merge does it: lists by `name` (containers, init \
               containers, volumes, env, image pull secrets) or `mountPath` (volume mounts), \
               other lists replaced, `null` removes. The agent's container is called `agent`.",
        ..FLAG
    },
    Flag {
        long: "agent-secret",
        env: &["RECAC_AGENT_SECRET_NAME"],
        takes: Takes::Text {
            shape: "NAME",
            choices: &[],
            set: |d, v| put(&mut d.config.agent_secret, value::object(v)?),
        },
        default: Some("recac-agent-secrets"),
        group: Group::Kubernetes,
        brief: "Secret whose keys every Job gets as variables.",
        more: "It need not be there.",
        ..FLAG
    },
    Flag {
        long: "agent-service-account",
        env: &["RECAC_AGENT_SERVICE_ACCOUNT"],
        takes: Takes::Text {
            shape: "NAME",
            choices: &[],
            set: |d, v| put(&mut d.config.agent_service_account, Some(value::object(v)?)),
        },
        otherwise: "the namespace's own, without its token",
        group: Group::Kubernetes,
        brief: "Service account of Jobs, with its token.",
        ..FLAG
    },
    Flag {
        long: "kubeconfig",
        env: &["KUBECONFIG"],
        takes: Takes::Path {
            kind: Kind::File,
            set: |d, v| put(&mut d.config.kubeconfig, Some(v)),
        },
        otherwise: "in-cluster, else `~/.kube/config`",
        group: Group::Kubernetes,
        brief: "How the API server is reached.",
        more: "Read by `kubectl config view`, which must be there.",
        ..FLAG
    },
    Flag {
        long: "kube-context",
        env: &["RECAC_KUBE_CONTEXT"],
        takes: Takes::Text {
            shape: "NAME",
            choices: &[],
            set: |d, v| put(&mut d.config.kube_context, Some(value::line(v)?)),
        },
        otherwise: "the kubeconfig's current one",
        group: Group::Kubernetes,
        brief: "The context of the kubeconfig.",
        ..FLAG
    },
    Flag {
        long: "keep-finished",
        env: &["RECAC_KEEP_FINISHED"],
        takes: Takes::Text {
            shape: "TIME",
            choices: &[],
            set: |d, v| put(&mut d.config.keep_finished, value::duration(v)?),
        },
        default: Some("1h"),
        group: Group::Kubernetes,
        brief: "How long Kubernetes keeps a reported Job.",
        ..FLAG
    },
    Flag {
        long: "leader-elect",
        env: &["RECAC_LEADER_ELECT"],
        takes: Takes::Switch(|d| &mut d.config.leader_elect),
        group: Group::Kubernetes,
        brief: "A Lease decides which of several replicas acts.",
        more: "One that loses it stands by.",
        ..FLAG
    },
    Flag {
        long: "orchestrator-image",
        env: &["RECAC_MANIFEST_IMAGE"],
        takes: Takes::Text {
            shape: "IMAGE",
            choices: &[],
            set: |d, v| put(&mut d.orchestrator_image, Some(value::image(v)?)),
        },
        group: Group::Kubernetes,
        brief: "With `manifest`: the orchestrator's own image.",
        ..FLAG
    },
    Flag {
        long: "owner",
        env: &["RECAC_OWNER"],
        takes: Takes::Text {
            shape: "NAME",
            choices: &[],
            set: |d, v| put(&mut d.config.owner, value::owner(v)?),
        },
        default: Some("default"),
        brief: "Tells several orchestrators of one host or daemon apart.",
        more: "At most 40 of a-z, 0-9 and `-`.",
        ..FLAG
    },
    Flag {
        long: "state-dir",
        env: &["RECAC_STATE_DIR"],
        takes: Takes::Path {
            kind: Kind::Directory,
            set: |d, v| put(&mut d.state_dir, Some(v)),
        },
        otherwise: "`$STATE_DIRECTORY`, else `$XDG_STATE_HOME/recac-orchestrator`, \
                    else `~/.local/state/recac-orchestrator`",
        brief: "Where lock, logs and process runs are kept.",
        ..FLAG
    },
    Flag {
        long: "keep-logs",
        env: &["RECAC_KEEP_LOGS"],
        takes: Takes::Text {
            shape: "TIME",
            choices: &[],
            set: |d, v| put(&mut d.config.keep_logs, value::duration(v)?),
        },
        default: Some("14d"),
        brief: "How long logs of ended runs are kept.",
        ..FLAG
    },
    Flag {
        long: "once",
        env: &["RECAC_ONCE"],
        takes: Takes::Switch(|d| &mut d.config.once),
        brief: "One pass: look, poll, act, wait for the spawns, exit.",
        ..FLAG
    },
    Flag {
        long: "wait",
        env: &["RECAC_WAIT"],
        takes: Takes::Switch(|d| &mut d.config.wait),
        brief: "With `--once`: go on until nothing can move any more.",
        more: "That is, until no run is left and no item can still start.",
        ..FLAG
    },
    Flag {
        long: "dry-run",
        env: &["RECAC_DRY_RUN"],
        takes: Takes::Switch(|d| &mut d.config.dry_run),
        brief: "One pass that prints what would be done.",
        more: "Touches nothing and waits for nothing.",
        ..FLAG
    },
    Flag {
        long: "log-format",
        env: &["RECAC_LOG_FORMAT"],
        takes: Takes::Text {
            shape: "FORMAT",
            choices: FORMATS,
            set: |d, v| {
                let format = match v {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => return Err(no_choice(v, FORMATS)),
                };
                put(&mut d.config.log_format, format)
            },
        },
        default: Some("text"),
        brief: "How log lines look.",
        more: "They go to stderr.",
        ..FLAG
    },
    Flag {
        long: "verbose",
        short: Some('v'),
        env: &["RECAC_VERBOSE"],
        takes: Takes::Switch(|d| &mut d.config.verbose),
        brief: "Log at debug level.",
        more: "`RUST_LOG` works as well.",
        ..FLAG
    },
    Flag {
        long: "help",
        short: Some('h'),
        takes: Takes::Print(Print::Help),
        brief: "Print this.",
        ..FLAG
    },
    Flag {
        long: "version",
        short: Some('V'),
        takes: Takes::Print(Print::Version),
        brief: "Print the version.",
        ..FLAG
    },
];

const SECOND: Duration = Duration::from_secs(1);
const OBJECT: &str = "1 to 253 of a-z, 0-9, - and .";

/// Where what an option of this name would say is said instead. `None` for any
/// other name.
pub(super) fn elsewhere(name: &str) -> Option<&'static str> {
    matches!(name, "jira-token" | "jira-api-token").then_some(
        "it would show in the list of processes; set JIRA_API_TOKEN, or give --jira-token-file",
    )
}

fn put<T>(slot: &mut T, value: T) -> Result<(), String> {
    *slot = value;
    Ok(())
}

fn push<T>(list: &mut Vec<T>, value: T) -> Result<(), String> {
    list.push(value);
    Ok(())
}

fn no_choice(v: &str, choices: &[&str]) -> String {
    format!("{v:?} is not a choice; write {}", choices.join(" or "))
}
