//! The way in: which kind of Jira there is at the URL, whether it lets the token
//! in, and Atlassian's gateway where the site itself does not.

use std::sync::Arc;

use log::info;
use serde_json::Value;

use super::{
    super::{
        answer,
        site::{self, Deployment, Identity, ServerInfo, Site},
    },
    Client, origin,
};
use crate::{
    http::{Answer, Method},
    source::{Trouble, lock},
};

impl Client {
    /// The Jira for this token: found once, and then remembered.
    pub(super) fn find(&self, token: &str) -> Result<Arc<Site>, Trouble> {
        let mut known = lock(&self.site);
        if let Some(site) = &*known {
            return Ok(Arc::clone(site));
        }
        let url = &self.access.url;
        let found = match self.enter(url, token)? {
            Ok(site) => Ok(site),
            Err((refusing, seen)) => {
                let through = self.gateway(&refusing).and_then(|gateway| match gateway {
                    Some(gateway) => self.enter(&gateway, token).map(Some),
                    None => Ok(None),
                });
                match through {
                    Ok(Some(found)) => found,
                    Ok(None) => Err((refusing, seen)),
                    // The site has refused it all the same, and counts that.
                    Err(trouble) => {
                        drop(known);
                        let refused = self.refuse(&refusing, Some(&seen));
                        let why = format!("{refused}; its gateway is of no help: {trouble}");
                        if let Some(refused) = &mut lock(&self.state).refused {
                            refused.why.clone_from(&why);
                        }
                        return Err(Trouble::Refused(why));
                    }
                }
            }
        };
        let site = match found {
            Ok(site) => Arc::new(site),
            Err((refusing, seen)) => {
                drop(known);
                return Err(self.refuse(&refusing, Some(&seen)));
            }
        };
        *known = Some(Arc::clone(&site));
        lock(&self.state).refused = None;
        Ok(site)
    }

    /// Where a token with scopes works, if the site that refuses this one may
    /// have such tokens.
    fn gateway(&self, refusing: &Answer) -> Result<Option<String>, Trouble> {
        let url = &self.access.url;
        let bearer = self.access.username.is_none();
        let may_be = refusing.status == 401 || (refusing.status == 403 && bearer);
        if !may_be || site::wants_captcha(refusing) || !site::is_atlassian(url) {
            return Ok(None);
        }
        let info = format!("{}/_edge/tenant_info", origin(url));
        let answer = self.ask(Method::Get, &info, None, None, None)?;
        match answer.status {
            200 => Ok(site::gateway(&answer.body)),
            404 => Ok(None),
            _ => Err(self.later(&answer, "tenant_info")),
        }
    }

    /// Looks which kind of Jira this is, and whether it lets us in. If it does
    /// not: its answer, and what is known of it.
    fn enter(&self, base: &str, token: &str) -> Result<Result<Site, (Answer, Site)>, Trouble> {
        let refuses = |answer: &Answer| {
            matches!(answer.status, 401 | 403)
                || site::wants_captcha(answer)
                || site::identity(answer) == Identity::Anonymous
        };
        let ask = |path: String| -> Result<Answer, Trouble> {
            let answer = self.ask(Method::Get, &path, Some(token), None, None)?;
            match self.redirected(&answer) {
                Some(trouble) => Err(trouble),
                None => Ok(answer),
            }
        };
        let answer = ask(format!("{base}/rest/api/2/serverInfo"))?;
        let info: Option<ServerInfo> = serde_json::from_slice(&answer.body).ok();
        let info = info.filter(|_| answer.status == 200);
        // Cloud tells anybody what it is, unless what is sent is nonsense to it.
        let nonsense = answer::said(&answer.body).contains("Connect Session Auth Token");
        let cloud = base != self.access.url || site::is_atlassian(base) || nonsense;
        let guessed = Site {
            base: base.to_owned(),
            browse: site::browse(&self.access.url),
            deployment: match cloud {
                true => Deployment::Cloud,
                false => Deployment::DataCenter,
            },
        };
        let deployment = match (self.access.deployment, &info) {
            (Some(deployment), _) => deployment,
            (None, Some(info)) => info.deployment(),
            (None, None) if matches!(answer.status, 401 | 403) || site::wants_captcha(&answer) => {
                return Ok(Err((answer, guessed)));
            }
            (None, None) if matches!(answer.status, 200 | 404) => {
                return Err(Trouble::Everything(format!(
                    "there is no Jira at {base} ({}); --jira-url is what people open in a \
                     browser, with the path behind the host if there is one",
                    answer::words(&answer)
                )));
            }
            (None, None) => return Err(self.later(&answer, "serverInfo")),
        };
        let browse = info.and_then(|info| info.browse());
        let site = Site {
            base: base.to_owned(),
            browse: browse.unwrap_or_else(|| site::browse(&self.access.url)),
            deployment,
        };
        let answer = ask(format!("{base}/rest/api/{}/myself", deployment.version()))?;
        if refuses(&answer) || answer.status == 200 && !site::is_somebody(&answer) {
            return Ok(Err((answer, site)));
        }
        match answer.status {
            200 => {}
            404 => {
                let version = deployment.version();
                return Err(Trouble::Everything(format!(
                    "{base} has no REST API {version} (status 404): see --jira-url and \
                     --jira-deployment"
                )));
            }
            _ => return Err(self.later(&answer, "who asks")),
        }
        self.greet(&site, &answer);
        Ok(Ok(site))
    }

    fn greet(&self, site: &Site, myself: &Answer) {
        let myself: Value = serde_json::from_slice(&myself.body).unwrap_or_default();
        let name = myself
            .get("displayName")
            .and_then(Value::as_str)
            .unwrap_or("?");
        let kind = match site.deployment {
            Deployment::Cloud => "Cloud",
            Deployment::DataCenter => "Data Center",
        };
        let through = match site.base == self.access.url {
            true => "",
            false => ", through Atlassian's gateway",
        };
        let greeting = format!("Jira {kind} at {}{through}, as {name}", self.access.url);
        let mut state = lock(&self.state);
        if state.greeted != greeting {
            info!("{greeting}");
            state.greeted = greeting;
        }
    }
}
