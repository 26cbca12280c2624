//! Text in a ConfigMap, written by several without one of them losing what
//! another has written. Knows nothing of what the text means.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::json;

use super::{
    client::{self, Call, Client, Error, JSON, MERGE},
    objects::Meta,
};
use crate::{agent, http::Method};

/// The key that holds the text.
const KEY: &str = "outcomes.jsonl";
/// An object without its content
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches>).
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// A ConfigMap of one key.
pub struct ConfigMap {
    client: Arc<Client>,
    /// Of all of the namespace.
    path: String,
    name: String,
    owner: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Meta,
    data: Option<BTreeMap<String, String>>,
}

impl ConfigMap {
    /// The ConfigMap `name` below `path`; nothing is asked yet.
    #[must_use]
    pub fn new(client: Arc<Client>, path: &str, name: &str, owner: &str) -> ConfigMap {
        ConfigMap {
            client,
            path: path.to_owned(),
            name: name.to_owned(),
            owner: owner.to_owned(),
        }
    }

    fn own(&self) -> String {
        format!("{}/{}", self.path, self.name)
    }

    fn get(&self, accept: &str) -> Result<Option<Object>, Error> {
        let path = self.own();
        let call = Call {
            accept,
            ..Call::get(&path)
        };
        match self.client.call(&call) {
            Ok(answer) => client::read(&answer.body).map(Some),
            Err(e) if e.is(404) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What tells its text from an earlier one; `None` if it is not there.
    ///
    /// # Errors
    /// As of [`Client::call`].
    pub fn version(&self) -> Result<Option<String>, Error> {
        let there = self.get(METADATA)?;
        Ok(there.map(|object| object.metadata.resource_version))
    }

    /// Its version and its text; `None` if it is not there.
    ///
    /// # Errors
    /// As of [`Client::call`].
    pub fn read(&self) -> Result<Option<(String, String)>, Error> {
        Ok(self.get(JSON)?.map(|object| {
            let mut data = object.data.unwrap_or_default();
            let text = data.remove(KEY).unwrap_or_default();
            (object.metadata.resource_version, text)
        }))
    }

    /// Puts `text` in the place of that of `version`, or creates it where there
    /// was none. Gives back the new version; `None` if it has changed meanwhile.
    ///
    /// # Errors
    /// As of [`Client::call`].
    pub fn write(&self, text: &str, version: Option<&str>) -> Result<Option<String>, Error> {
        let data = json!({ KEY: text });
        let answer = match version {
            None => {
                let body = json!({
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {
                        "name": self.name,
                        "labels": { agent::MANAGED_BY: agent::MANAGER, agent::OWNER: self.owner },
                    },
                    "data": data,
                });
                let body = body.to_string();
                let call = Call::change(Method::Post, &self.path, JSON, body.as_bytes());
                self.client.call(&call)
            }
            Some(version) => {
                let meta = json!({ "resourceVersion": version });
                let body = json!({ "metadata": meta, "data": data }).to_string();
                let path = self.own();
                let call = Call::change(Method::Patch, &path, MERGE, body.as_bytes());
                self.client.call(&call)
            }
        };
        match answer {
            Ok(answer) => {
                let object: Object = client::read(&answer.body)?;
                Ok(Some(object.metadata.resource_version))
            }
            Err(e) if e.is(409) || version.is_some() && e.is(404) => Ok(None),
            Err(e) => Err(e),
        }
    }
}
