//! A document as it is read: nodes with their texts, nothing checked.
//!
//! A value of the wrong type is what it says if it is a word, a number or a
//! node, and nothing otherwise. Marks have the form of nodes.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::source::jira::markdown::clean;

/// A node or a mark.
#[derive(Debug, Default)]
pub struct Node<'a> {
    /// The name of its type, such as `paragraph`.
    pub kind: Cow<'a, str>,
    /// Its own text.
    pub text: Cow<'a, str>,
    /// What it is made of.
    pub content: Vec<Node<'a>>,
    /// The marks on it.
    pub marks: Vec<Node<'a>>,
    attrs: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Node<'a> {
    /// An attribute, if it is there and not empty. What stands in `data`,
    /// which cards have in the place of an address, counts as the node's own.
    pub fn attr(&self, name: &str) -> Option<&Cow<'a, str>> {
        let mut found = self.attrs.iter().filter(|(n, _)| *n == name);
        let (_, value) = found.find(|(_, value)| !value.is_empty())?;
        Some(value)
    }

    /// An attribute that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.attr(name)?.parse().ok()
    }

    fn take(&mut self, key: Key, value: Value<'a>) {
        match key {
            Key::Kind => self.kind = value.word(),
            Key::Text => self.text = value.word(),
            Key::Content => join(&mut self.content, value.nodes()),
            Key::Marks => join(&mut self.marks, value.nodes()),
            Key::Attrs => {
                if let Value::Node(of) = value {
                    join(&mut self.attrs, of.attrs);
                    let own = [("text", of.text), ("type", of.kind)];
                    self.attrs
                        .extend(own.into_iter().filter(|(_, v)| !v.is_empty()));
                }
            }
            Key::Data => {
                if let Value::Node(of) = value {
                    join(&mut self.attrs, of.attrs);
                }
            }
            Key::Attr(name) => self.attrs.push((name, value.word())),
            Key::Other => {}
        }
    }
}

/// Appends; most often to nothing, where nothing has to be copied.
fn join<T>(to: &mut Vec<T>, mut from: Vec<T>) {
    if to.is_empty() {
        *to = from;
    } else {
        to.append(&mut from);
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = from.deserialize_any(ValueVisitor)?;
        Ok(value.node().unwrap_or_default())
    }
}

/// The keys of nodes that say something a reader sees.
#[derive(Clone, Copy)]
enum Key {
    Kind,
    Text,
    Content,
    Marks,
    Attrs,
    Data,
    Attr(&'static str),
    Other,
}

impl Key {
    fn of(name: &str) -> Key {
        const ATTRS: [&str; 16] = [
            "alt",
            "colspan",
            "href",
            "id",
            "language",
            "level",
            "name",
            "order",
            "panelType",
            "resourceId",
            "rowspan",
            "shortName",
            "state",
            "timestamp",
            "title",
            "url",
        ];
        match name {
            "type" => Key::Kind,
            "text" => Key::Text,
            "content" => Key::Content,
            "marks" => Key::Marks,
            "attrs" => Key::Attrs,
            "data" => Key::Data,
            name => match ATTRS.iter().find(|attr| **attr == name) {
                Some(attr) => Key::Attr(attr),
                None => Key::Other,
            },
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
        from.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        Ok(Key::of(name))
    }
}

/// Any value of JSON, as far as it can be of use.
enum Value<'a> {
    Nothing,
    Word(Cow<'a, str>),
    Node(Node<'a>),
    Nodes(Vec<Node<'a>>),
}

impl<'a> Value<'a> {
    fn word(self) -> Cow<'a, str> {
        match self {
            Value::Word(word) => word,
            Value::Nothing | Value::Node(_) | Value::Nodes(_) => Cow::Borrowed(""),
        }
    }

    fn node(self) -> Option<Node<'a>> {
        match self {
            Value::Nothing => None,
            Value::Word(text) => Some(Node {
                kind: Cow::Borrowed("text"),
                text,
                ..Node::default()
            }),
            Value::Node(node) => Some(node),
            Value::Nodes(content) => Some(Node {
                content,
                ..Node::default()
            }),
        }
    }

    fn nodes(self) -> Vec<Node<'a>> {
        match self {
            Value::Nodes(nodes) => nodes,
            Value::Nothing | Value::Word(_) | Value::Node(_) => self.node().into_iter().collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut node = Node::default();
        while let Some(key) = map.next_key::<Key>()? {
            // Most of what is here is not looked at.
            if matches!(key, Key::Other) {
                map.next_value::<IgnoredAny>()?;
            } else {
                node.take(key, map.next_value()?);
            }
        }
        Ok(Value::Node(node))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let mut nodes = Vec::new();
        while let Some(value) = seq.next_element::<Value<'_>>()? {
            nodes.extend(value.node());
        }
        Ok(Value::Nodes(nodes))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Word(clean(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Word(clean(Cow::Owned(text.to_owned()))))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Value<'de>, E> {
        Ok(Value::Word(Cow::Owned(n.to_string())))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Value<'de>, E> {
        Ok(Value::Word(Cow::Owned(n.to_string())))
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Value<'de>, E> {
        // As whole as it is: 3 for 3.0.
        Ok(Value::Word(Cow::Owned(n.to_string())))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Nothing)
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Nothing)
    }
}
