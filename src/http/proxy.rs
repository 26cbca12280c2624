//! Which proxy stands between us and a server, as the environment has it: a
//! variable for the scheme before the one for all, and none where `NO_PROXY`
//! says so or the server is on this host, as Go's programs read them
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#FromEnvironment>).
//! Pure.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use ureq::{ProxyProtocol, http::Uri};

/// The variables that name a proxy to servers of `http`, the first that is set.
const HTTP: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// And to all others.
const HTTPS: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Those that name who needs none.
const AROUND: [&str; 2] = ["NO_PROXY", "no_proxy"];

const UNUSABLE: &str = "the proxy's URL is none that can be used; write http://HOST:PORT or \
                        https://HOST:PORT (no SOCKS)";

/// What the environment says of proxies.
#[derive(Clone, Default)]
pub struct Proxies(BTreeMap<&'static str, String>);

impl Proxies {
    /// Those of this environment.
    #[must_use]
    pub fn of(environment: &BTreeMap<String, String>) -> Proxies {
        let set = |name: &'static str| {
            let value = environment.get(name)?;
            (!value.trim().is_empty()).then(|| (name, value.clone()))
        };
        let all = HTTP.into_iter().chain(HTTPS).chain(AROUND);
        Proxies(all.filter_map(set).collect())
    }

    /// The one for this URL, if there is one. Not as ureq looks for it, which
    /// goes without one that it does not understand.
    ///
    /// # Errors
    /// If it cannot be used; its variable, but not its URL, which may hold a
    /// password.
    pub fn towards(&self, url: &str) -> Result<Option<Proxy>, String> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let Some((variable, at)) = self.first(match scheme.eq_ignore_ascii_case("http") {
            true => &HTTP,
            false => &HTTPS,
        }) else {
            return Ok(None);
        };
        let mut proxy = Proxy::at(at, variable)?;
        let around = self.first(&AROUND).map_or("", |(_, hosts)| hosts);
        proxy.around = Some(around.to_owned());
        Ok(Some(proxy))
    }

    fn first(&self, names: &[&'static str]) -> Option<(&'static str, &str)> {
        let mut set = names.iter().filter_map(|name| self.0.get_key_value(name));
        set.next().map(|(name, value)| (*name, value.as_str()))
    }
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Their URLs may hold passwords.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What stands between us and a server.
#[derive(Clone)]
pub struct Proxy {
    /// The variable that names it, or what else does.
    from: &'static str,
    /// Who is reached without it, as `NO_PROXY` has it; without that it is for
    /// every server.
    around: Option<String>,
    pub(super) proxy: ureq::Proxy,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its URL may hold a password.
        write!(f, "Proxy({:?})", self.from)
    }
}

impl Proxy {
    /// The proxy of this URL, which is that of `from`, for every server.
    ///
    /// # Errors
    /// If it is none that can be used; ureq panics at some of them. With the
    /// name, and without the URL.
    pub fn at(url: &str, from: &'static str) -> Result<Proxy, String> {
        let unusable = || format!("{from}: {UNUSABLE}");
        let proxy = ureq::Proxy::new(url).map_err(|_| unusable())?;
        let spoken = matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https);
        // For a port that is none ureq takes the usual one.
        let place = proxy.uri().authority().is_some_and(|authority| {
            let place = authority.as_str().rsplit('@').next();
            authority.port_u16().is_some() || place == Some(authority.host())
        });
        match spoken && place && !proxy.host().is_empty() {
            true => Ok(Proxy {
                from,
                around: None,
                proxy,
            }),
            false => Err(unusable()),
        }
    }

    /// What names it, for a message.
    #[must_use]
    pub fn from(&self) -> &'static str {
        self.from
    }

    /// Whether it stands between us and the place of this URL.
    #[must_use]
    pub fn is_for(&self, uri: &Uri) -> bool {
        let (Some(around), Some(host)) = (&self.around, uri.host()) else {
            return true;
        };
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("http") => 80,
            _ => 443,
        });
        let place = Place::new(host, port);
        let mut around = around.split(|c: char| c == ',' || c.is_whitespace());
        !place.is_here() && !around.any(|entry| place.is_meant_by(entry))
    }
}

struct Place {
    host: String,
    address: Option<IpAddr>,
    port: u16,
}

impl Place {
    fn new(host: &str, port: u16) -> Place {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.');
        Place {
            host: host.to_ascii_lowercase(),
            address: host.parse().ok(),
            port,
        }
    }

    fn is_here(&self) -> bool {
        let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.host == "localhost" || self.address.is_some_and(loopback)
    }

    /// `entry` is `*`, an address, a net as `10.0.0.0/8`, or a domain, which
    /// stands for all below it as well (with a dot before it: only for those);
    /// all but a net with a port, or without.
    fn is_meant_by(&self, entry: &str) -> bool {
        let entry = entry.trim().to_ascii_lowercase();
        if let Some((net, bits)) = entry.split_once('/') {
            return self.is_within(net, bits).unwrap_or(false);
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if entry.parse::<Ipv6Addr>().is_err() && !port.ends_with(']') => {
                (name, port.parse().ok())
            }
            _ => (entry.as_str(), Some(self.port)),
        };
        let name = name.trim_matches(['[', ']']).trim_end_matches('.');
        let below = |domain: &str| {
            let sub = self.host.strip_suffix(domain);
            sub.is_some_and(|sub| sub.ends_with('.'))
        };
        if port != Some(self.port) || name.is_empty() {
            false
        } else if name == "*" {
            true
        } else if let Some(domain) = name.strip_prefix("*.").or(name.strip_prefix('.')) {
            below(domain)
        } else if let Some(ours) = self.address {
            name.parse().is_ok_and(|address: IpAddr| address == ours)
        } else {
            name == self.host || below(name)
        }
    }

    fn is_within(&self, net: &str, bits: &str) -> Option<bool> {
        let bits: u32 = bits.parse().ok()?;
        let (ours, net, all) = match (self.address?, net.parse().ok()?) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return None,
        };
        let rest = u32::checked_sub(all, bits)?;
        let differ: u128 = ours ^ net;
        Some(differ.checked_shr(rest).unwrap_or(0) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vars: &[(&str, &str)]) -> Proxies {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Proxies::of(&vars.iter().map(own).collect())
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused() {
        for url in [
            "socks5://u:hunter2@h",
            "socks4a://h",
            "ftp://u:hunter2@h",
            "http://u:hunter2@h:99999",
            "http://h:",
            "http://:80",
            "h i",
            "/",
            "",
        ] {
            let why = Proxy::at(url, "X").unwrap_err();
            assert_eq!(why, format!("X: {UNUSABLE}"), "{url}");
        }
        for lawful in [
            "h",
            "h:1",
            "https://[::1]:3128/",
            "http://[::1]",
            "HTTP://u@h",
        ] {
            assert!(Proxy::at(lawful, "X").is_ok(), "{lawful}");
        }
        let proxies = of(&[("ALL_PROXY", "socks5://u:hunter2@h"), ("http_proxy", "h")]);
        let why = proxies.towards("https://x").unwrap_err();
        assert_eq!(why, format!("ALL_PROXY: {UNUSABLE}"));
        assert!(proxies.towards("http://x").unwrap().is_some());
        assert!(!format!("{proxies:?}").contains("hunter2"));
    }

    #[test]
    fn the_scheme_of_a_server_says_which_variable_counts() {
        let proxies = of(&[
            ("HTTPS_PROXY", " "),
            ("https_proxy", "http://u:p%40w@secure:3128"),
            ("ALL_PROXY", "any"),
            ("no_proxy", "x.example"),
        ]);
        let towards = |url: &str| proxies.towards(url).unwrap().unwrap();
        let secure = towards("https://jira.example").proxy;
        assert_eq!((secure.host(), secure.port()), ("secure", 3128));
        let user = (secure.username(), secure.password());
        assert_eq!(user, (Some("u"), Some("p@w")));
        let plain = towards("HTTP://jira.example");
        assert_eq!((plain.from(), plain.proxy.host()), ("ALL_PROXY", "any"));
        let none = of(&[("HTTPS_PROXY", "h")]);
        assert!(none.towards("http://jira.example").unwrap().is_none());
    }

    #[test]
    fn who_is_near_or_named_is_reached_without() {
        let around = |no_proxy: &str, url: &str| {
            let proxies = of(&[("ALL_PROXY", "p"), ("NO_PROXY", no_proxy)]);
            let proxy = proxies.towards(url).unwrap().unwrap();
            !proxy.is_for(&url.parse().unwrap())
        };
        for url in [
            "http://localhost:8001/",
            "https://127.0.0.2",
            "https://[::1]:6443",
            "https://[::ffff:127.0.0.1]",
        ] {
            assert!(around("", url), "{url}");
        }
        for (no_proxy, url, expected) in [
            ("", "https://a.example", false),
            ("*", "https://a.example", true),
            ("x, a.example", "https://A.example./y", true),
            ("x a.example", "https://b.a.example", true),
            ("A.EXAMPLE", "https://ba.example", false),
            (".a.example", "https://b.a.example", true),
            (".a.example", "https://a.example", false),
            ("*.a.example", "https://b.a.example", true),
            ("a.example:443", "https://a.example", true),
            ("a.example:443", "https://a.example:8443", false),
            ("a.example:80", "http://a.example", true),
            ("a.example:no", "https://a.example", false),
            (".", "https://a.example", false),
            (":", "https://a.example", false),
            ("10.0.0.0/8", "https://10.96.0.1:443", true),
            ("10.0.0.0/8", "https://11.0.0.1", false),
            ("10.0.0.0/8", "https://a.example", false),
            ("10.96.0.1", "https://10.96.0.1", true),
            ("96.0.1", "https://10.96.0.1", false),
            ("10.96.0.1:443", "https://10.96.0.1", true),
            ("0.0.0.0/0", "https://9.9.9.9", true),
            ("0.0.0.0/0", "https://[fd00::1]", false),
            ("::/0", "https://[fd00::1]", true),
            ("fd00::/8", "https://[fd00::1]", true),
            ("fd00::/8", "https://[fe00::1]", false),
            ("fd00::1", "https://[fd00::1]", true),
            ("[fd00::1]", "https://[fd00::1]", true),
            ("[fd00::1]:6443", "https://[fd00::1]:6443", true),
            ("[fd00::1]:6443", "https://[fd00::1]", false),
            ("10.0.0.0/33", "https://10.0.0.0", false),
            ("10.0.0.0/x", "https://10.0.0.0", false),
        ] {
            assert_eq!(around(no_proxy, url), expected, "{no_proxy:?} {url}");
        }
        // One that is named for a server is for that server.
        let uri = "https://127.0.0.1".parse().unwrap();
        assert!(Proxy::at("p", "X").unwrap().is_for(&uri));
    }
}
