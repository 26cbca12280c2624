//! Where the API server is and who we are there: what a pod finds in its files,
//! or what `kubectl` makes of a kubeconfig.
//!
//! Speaks to no server, and keeps no credential beyond what it was given.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    cmd::{Call, Cause},
    core::Stamp,
    http::{Identity, Proxies, Proxy, Settings},
};

/// Where a pod finds its credentials
/// (<https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>).
const POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The extension of a cluster that plugins are given
/// (<https://kubernetes.io/docs/reference/config-api/client-authentication.v1/#client-authentication-k8s-io-v1-Cluster>).
const FOR_PLUGINS: &str = "client.authentication.k8s.io/exec";
/// For `kubectl config view`, which reads files.
const READING: Duration = Duration::from_secs(30);
/// For a plugin, which may ask a server of its own.
const PLUGIN: Duration = Duration::from_secs(60);

/// Where all this is found out.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The files of a pod, and the server by its host and port.
    Pod {
        /// `KUBERNETES_SERVICE_HOST`
        host: String,
        /// `KUBERNETES_SERVICE_PORT`
        port: String,
    },
    /// A kubeconfig, read by `kubectl`.
    Kubeconfig {
        /// `--kubeconfig`, as the variable `KUBECONFIG` has it.
        files: Option<OsString>,
        /// `--kube-context`
        context: Option<String>,
        /// Where those files are, whose paths may begin there.
        dirs: Vec<PathBuf>,
    },
}

/// The API server and we.
#[derive(Clone, Debug)]
pub struct Access {
    /// `https://host:port`, with a path where it has one, without a slash.
    pub server: String,
    /// How it is reached.
    pub settings: Settings,
    /// By what it knows us.
    pub user: User,
    /// Of the pod or the context.
    pub namespace: Option<String>,
}

impl Access {
    /// The same, through the proxy of the environment where no other is named
    /// and none would be taken for the place that goes by the name of another.
    ///
    /// # Errors
    /// If that proxy cannot be used; its variable.
    pub fn through(mut self, proxies: &Proxies) -> Result<Access, String> {
        let settings = &mut self.settings;
        if settings.proxy.is_none() && settings.connect_to.is_none() {
            settings.proxy = proxies.towards(&self.server)?;
        }
        Ok(self)
    }

    /// The variable of a proxy that would stand in between, were it not for
    /// the name of another.
    #[must_use]
    pub fn passes_by(&self, proxies: &Proxies) -> Option<&'static str> {
        let place = format!("https://{}", self.settings.connect_to.as_ref()?);
        let proxy = proxies.towards(&place).ok()??;
        let uri = place.parse().ok()?;
        proxy.is_for(&uri).then(|| proxy.from())
    }
}

/// By what the API server knows us, besides a client certificate.
#[derive(Clone)]
pub enum User {
    /// Nothing.
    Nobody,
    /// This token.
    Token(String),
    /// The token in this file, which may change.
    TokenFile(PathBuf),
    /// What this plugin says.
    Exec(Box<Exec>),
}

impl User {
    /// Paths of a kubeconfig begin where it is. kubectl does not say in which
    /// of several a user stands, so it is the first beside which the path leads
    /// somewhere.
    fn resolve(&mut self, dirs: &[PathBuf]) {
        let resolved = |path: &Path| {
            let mut paths = dirs.iter().map(|dir| dir.join(path));
            paths.find(|path| path.exists())
        };
        match self {
            User::TokenFile(path) => {
                if let Some(found) = resolved(path) {
                    *path = found;
                }
            }
            User::Exec(exec) if exec.command.contains('/') => {
                if let Some(found) = resolved(Path::new(&exec.command)) {
                    exec.command = found.to_string_lossy().into_owned();
                }
            }
            User::Exec(_) | User::Token(_) | User::Nobody => {}
        }
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            User::Nobody => "Nobody",
            User::Token(_) => "Token",
            User::TokenFile(_) => "TokenFile",
            User::Exec(_) => "Exec",
        })
    }
}

/// A credential plugin
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    api_version: String,
    command: String,
    #[serde(default)]
    args: Option<Vec<String>>,
    #[serde(default)]
    env: Option<Vec<EnvVar>>,
    #[serde(default)]
    install_hint: Option<String>,
    #[serde(default)]
    provide_cluster_info: bool,
    /// What it is told of the cluster, if it wants to hear it.
    #[serde(skip)]
    cluster: Option<Value>,
}

#[derive(Clone, Deserialize)]
struct EnvVar {
    name: String,
    value: String,
}

impl std::fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// What a plugin said.
#[derive(Clone)]
pub struct Credential {
    /// A token, if it gave one.
    pub token: Option<String>,
    /// A client certificate, if it gave one.
    pub identity: Option<Identity>,
    /// Until when it holds; for ever if it did not say.
    pub until: Option<Stamp>,
}

impl Origin {
    /// Where to look, by what the command line and the environment say.
    #[must_use]
    pub fn choose(
        files: Option<&Path>,
        context: Option<&str>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Origin {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let pod = set("KUBERNETES_SERVICE_HOST").zip(set("KUBERNETES_SERVICE_PORT"));
        match pod {
            Some((host, port)) if files.is_none() && context.is_none() => {
                Origin::Pod { host, port }
            }
            _ => Origin::Kubeconfig {
                files: files.map(|path| path.as_os_str().to_owned()),
                context: context.map(str::to_owned),
                dirs: match files {
                    Some(files) => files
                        .to_string_lossy()
                        .split(':')
                        .filter_map(|file| Path::new(file).parent().map(Path::to_owned))
                        .collect(),
                    None => {
                        let home = set("HOME").map(|home| Path::new(&home).join(".kube"));
                        home.into_iter().collect()
                    }
                },
            },
        }
    }

    /// Finds it out.
    ///
    /// # Errors
    /// What is not there or cannot be read, and the way out.
    pub fn access(&self) -> Result<Access, String> {
        match self {
            Origin::Pod { host, port } => pod(host, port, Path::new(POD)),
            Origin::Kubeconfig {
                files,
                context,
                dirs,
            } => {
                let mut call = Call::new("kubectl").args(["config", "view", "--raw", "--minify"]);
                call = call.args(["--flatten", "-o", "json"]);
                if let Some(context) = context {
                    call = call.args([format!("--context={context}")]);
                }
                if let Some(files) = files {
                    // kubectl goes on without those that are missing, and says
                    // something else.
                    let names = files.to_string_lossy();
                    if !names.split(':').any(|name| Path::new(name).exists()) {
                        return Err(format!("there is no kubeconfig {names}; see --kubeconfig"));
                    }
                    call = call.env("KUBECONFIG", files);
                }
                let text = call.read(READING).map_err(|failed| match &failed.cause {
                    Cause::Start(_) => format!(
                        "{failed}; install kubectl, which reads the kubeconfig, or run in a \
                         cluster (see the verb manifest)"
                    ),
                    Cause::TooLong(_) | Cause::TooMuch(_) | Cause::Held | Cause::Status { .. } => {
                        format!("no cluster to go to: {failed}; see --kubeconfig, --kube-context")
                    }
                })?;
                let mut access =
                    of_kubeconfig(&text).map_err(|why| format!("the kubeconfig: {why}"))?;
                access.user.resolve(dirs);
                Ok(access)
            }
        }
    }
}

fn pod(host: &str, port: &str, dir: &Path) -> Result<Access, String> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let token = dir.join("token");
    read("token").map_err(|why| {
        format!("this pod has no token for the API server: {why}; see automountServiceAccountToken")
    })?;
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let namespace = read("namespace").ok();
    let namespace = namespace.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    Ok(Access {
        server: format!("https://{host}:{port}"),
        settings: Settings {
            roots: Some(read("ca.crt")?),
            ..Settings::default()
        },
        user: User::TokenFile(token),
        namespace: namespace.filter(|name| !name.is_empty()),
    })
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    clusters: Option<Vec<Cluster>>,
    #[serde(default)]
    contexts: Option<Vec<Context>>,
    #[serde(default)]
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct Cluster {
    cluster: ClusterInfo,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterInfo {
    server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate_authority_data: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    insecure_skip_tls_verify: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_server_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy_url: Option<String>,
    #[serde(default, skip_serializing)]
    extensions: Option<Vec<Extension>>,
}

/// What a kubeconfig holds for a program that it names.
#[derive(Deserialize)]
struct Extension {
    name: String,
    extension: Value,
}

impl ClusterInfo {
    /// As a plugin is told of it.
    fn told(&self) -> Value {
        let mut told = json!(self);
        let mut for_plugins = self.extensions.iter().flatten();
        let ours = for_plugins.find(|e| e.name == FOR_PLUGINS);
        if let (Some(ours), Some(told)) = (ours, told.as_object_mut()) {
            told.insert("config".to_owned(), ours.extension.clone());
        }
        told
    }
}

#[derive(Deserialize)]
struct Context {
    context: ContextInfo,
}

#[derive(Deserialize)]
struct ContextInfo {
    #[serde(default)]
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    user: UserInfo,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UserInfo {
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    exec: Option<Exec>,
    auth_provider: Option<Value>,
    username: Option<String>,
    #[serde(rename = "as")]
    impersonate: Option<String>,
}

/// What `kubectl config view --raw --minify --flatten -o json` prints.
fn of_kubeconfig(text: &[u8]) -> Result<Access, String> {
    let odd = |e: serde_json::Error| format!("what kubectl makes of it cannot be read: {e}");
    let config: Config = serde_json::from_slice(text).map_err(odd)?;
    let cluster = config.clusters.into_iter().flatten().next();
    let cluster = cluster.ok_or("it names no cluster")?.cluster;
    let user = config.users.into_iter().flatten().next();
    let user = user.map(|named| named.user).unwrap_or_default();
    let context = config.contexts.into_iter().flatten().next();
    let namespace = context.and_then(|c| c.context.namespace);

    let authority = cluster
        .server
        .split_once("://")
        .map_or("", |(_, rest)| rest);
    if authority
        .split('/')
        .next()
        .is_some_and(|place| place.contains('@'))
    {
        return Err("its server holds a name or a password, which belong to its user".to_owned());
    }
    if user.impersonate.is_some_and(|who| !who.is_empty()) {
        return Err(
            "its user is to act as another one (as), which is not done here; name a user who \
             may do it"
                .to_owned(),
        );
    }
    let decoded = |what: &str, text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty());
        let decode = |text| base64(text).ok_or_else(|| format!("its {what} is no base64"));
        text.map(decode).transpose()
    };
    let certificates = decoded("client-certificate-data", &user.client_certificate_data)?;
    let key = decoded("client-key-data", &user.client_key_data)?;
    if certificates.is_some() != key.is_some() {
        return Err("its user has one of client certificate and key, and needs both".to_owned());
    }
    let (server, connect_to) = match &cluster.tls_server_name {
        None => (cluster.server.clone(), None),
        Some(name) => named(&cluster.server, name)?,
    };
    if cluster.proxy_url.is_some() && connect_to.is_some() {
        return Err(
            "tls-server-name and proxy-url do not go together here; leave one out".to_owned(),
        );
    }
    let proxy = cluster.proxy_url.as_deref();
    let proxy = proxy.map(|url| Proxy::at(url, "proxy-url")).transpose()?;
    let settings = Settings {
        roots: decoded(
            "certificate-authority-data",
            &cluster.certificate_authority_data,
        )?,
        identity: certificates
            .zip(key)
            .map(|(certificates, key)| Identity { certificates, key }),
        insecure: cluster.insecure_skip_tls_verify,
        proxy,
        connect_to,
    };
    let user = if let Some(mut exec) = user.exec {
        exec.cluster = exec.provide_cluster_info.then(|| cluster.told());
        User::Exec(Box::new(exec))
    } else if let Some(file) = user.token_file {
        // Of both the file counts, as in client-go.
        User::TokenFile(file)
    } else if let Some(token) = user.token.filter(|token| !token.is_empty()) {
        User::Token(token)
    } else if user.auth_provider.is_some() || user.username.is_some() {
        return Err(
            "its user has an auth-provider or a password, which no API server takes any more; \
             give it a token, a certificate or a plugin (exec)"
                .to_owned(),
        );
    } else {
        User::Nobody
    };
    Ok(Access {
        server: server.trim_end_matches('/').to_owned(),
        settings,
        user,
        namespace: namespace.filter(|name| !name.is_empty()),
    })
}

/// The address with `name` as its host, and the host and port it had.
fn named(server: &str, name: &str) -> Result<(String, Option<String>), String> {
    let rest = server.strip_prefix("https://");
    let rest = rest.ok_or("tls-server-name needs a server that begins with https://")?;
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let after = place.rfind(']').unwrap_or(0);
    let port = place
        .get(after..)
        .and_then(|p| p.rsplit_once(':'))
        .map_or("443", |(_, p)| p);
    let place = match place.ends_with(&format!(":{port}")) {
        true => place.to_owned(),
        false => format!("{place}:{port}"),
    };
    Ok((format!("https://{name}:{port}{path}"), Some(place)))
}

/// What base64 stands for, wherever its lines are broken and however it ends.
fn base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let kept = |c: &char| !c.is_ascii_whitespace() && *c != '=';
    let text: String = text.chars().filter(kept).collect();
    LENIENT.decode(text).ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: String,
    status: Option<ExecStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecStatus {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

impl Exec {
    /// Asks the plugin.
    ///
    /// # Errors
    /// If it cannot be started, fails, or says nothing that can be used.
    pub fn ask(&self) -> Result<Credential, String> {
        let mut call = Call::new(&self.command).args(self.args.iter().flatten());
        for var in self.env.iter().flatten() {
            call = call.env(&var.name, &var.value);
        }
        let mut spec = json!({ "interactive": false });
        if let (Some(cluster), Some(spec)) = (&self.cluster, spec.as_object_mut()) {
            spec.insert("cluster".to_owned(), cluster.clone());
        }
        let info = json!({
            "apiVersion": self.api_version,
            "kind": "ExecCredential",
            "spec": spec,
        });
        let answer = call
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .read(PLUGIN)
            .map_err(|failed| match (&failed.cause, &self.install_hint) {
                (Cause::Start(_), Some(hint)) => format!("{failed}; {}", hint.trim()),
                _ => failed.to_string(),
            })?;
        self.read(&answer)
            .map_err(|why| format!("the credential plugin {:?} {why}", self.command))
    }

    fn read(&self, answer: &[u8]) -> Result<Credential, String> {
        let said: ExecCredential = serde_json::from_slice(answer)
            .map_err(|_| "does not print an ExecCredential".to_owned())?;
        if said.api_version != self.api_version {
            return Err(format!(
                "speaks {:?} and not {:?}",
                said.api_version, self.api_version
            ));
        }
        let status = said.status.ok_or("prints no status")?;
        let identity = status.client_certificate_data.zip(status.client_key_data);
        let identity = identity.map(|(certificates, key)| Identity {
            certificates: certificates.into_bytes(),
            key: key.into_bytes(),
        });
        let token = status.token.filter(|token| !token.is_empty());
        if token.is_none() && identity.is_none() {
            return Err("prints neither a token nor a certificate".to_owned());
        }
        let until = status.expiration_timestamp;
        let until = until.map(|text| text.parse()).transpose();
        let until = until.map_err(|_: String| "prints an expirationTimestamp that is no time")?;
        Ok(Credential {
            token,
            identity,
            until,
        })
    }
}

#[cfg(test)]
mod tests;
