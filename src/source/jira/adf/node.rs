//! A document as it is read: nodes with their texts, nothing checked.
//!
//! A value of the wrong type is what it says if it is a word, a number or a
//! node, and nothing otherwise. Marks have the form of nodes.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::source::jira::markdown::clean;

/// A document. Its nodes are all in one place, because ten thousand documents
/// with a list of its own for each node keep an allocator busy.
pub struct Doc<'a> {
    /// The children of a node stand side by side, and before it.
    nodes: Vec<Node<'a>>,
    /// What the document is.
    pub root: Node<'a>,
}

/// A node or a mark.
#[derive(Debug, Default)]
pub struct Node<'a> {
    /// The name of its type, such as `paragraph`.
    pub kind: Cow<'a, str>,
    /// Its own text.
    pub text: Cow<'a, str>,
    content: Range<usize>,
    marks: Range<usize>,
    attrs: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Doc<'a> {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not JSON, or nested deeper than 128 levels.
    pub fn read(json: &'a str) -> Result<Doc<'a>, serde_json::Error> {
        // Few nodes take less room than this in JSON.
        let mut arena = Arena {
            done: Vec::with_capacity(json.len() / 64),
            begun: Vec::with_capacity(64),
        };
        let mut from = serde_json::Deserializer::from_str(json);
        let value = Read(&mut arena).deserialize(&mut from)?;
        from.end()?;
        Ok(Doc {
            root: value.node().unwrap_or_default(),
            nodes: arena.done,
        })
    }

    /// What a node is made of.
    pub fn content(&self, node: &Node<'a>) -> &[Node<'a>] {
        self.nodes.get(node.content.clone()).unwrap_or_default()
    }

    /// The marks on a node.
    pub fn marks(&self, node: &Node<'a>) -> &[Node<'a>] {
        self.nodes.get(node.marks.clone()).unwrap_or_default()
    }
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

    fn take(&mut self, key: Key, value: Value<'a>, arena: &mut Arena<'a>) {
        match key {
            Key::Kind => self.kind = value.word(),
            Key::Text => self.text = value.word(),
            Key::Content => self.content = arena.join(self.content.clone(), value),
            Key::Marks => self.marks = arena.join(self.marks.clone(), value),
            Key::Attrs => {
                if let Value::Node(mut of) = value {
                    self.attrs.append(&mut of.attrs);
                    let own = [("text", of.text), ("type", of.kind)];
                    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
                    self.attrs.extend(own);
                }
            }
            Key::Data => {
                if let Value::Node(mut of) = value {
                    self.attrs.append(&mut of.attrs);
                }
            }
            Key::Attr(name) => self.attrs.push((name, value.word())),
            Key::Other => {}
        }
    }
}

/// The nodes while they are read.
struct Arena<'a> {
    /// Those whose siblings are complete.
    done: Vec<Node<'a>>,
    /// The others, those of the innermost list last.
    begun: Vec<Node<'a>>,
}

impl<'a> Arena<'a> {
    /// Places nodes side by side.
    fn place(&mut self, nodes: impl IntoIterator<Item = Node<'a>>) -> Range<usize> {
        let from = self.done.len();
        self.done.extend(nodes);
        from..self.done.len()
    }

    /// The nodes of `first` and then those of a value. A key that comes twice
    /// is no reason to lose what it says.
    fn join(&mut self, first: Range<usize>, value: Value<'a>) -> Range<usize> {
        let second = match value {
            Value::Nodes(nodes) => nodes,
            Value::Nothing | Value::Word(_) | Value::Node(_) => self.place(value.node()),
        };
        if first.is_empty() {
            return second;
        }
        let of = |content| Node {
            content,
            ..Node::default()
        };
        self.place([of(first), of(second)])
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
    Nodes(Range<usize>),
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
}

/// Reads a value.
struct Read<'r, 'a>(&'r mut Arena<'a>);

impl<'de> DeserializeSeed<'de> for Read<'_, 'de> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read<'_, 'de> {
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
                let value = map.next_value_seed(Read(&mut *self.0))?;
                node.take(key, value, self.0);
            }
        }
        Ok(Value::Node(node))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let from = self.0.begun.len();
        while let Some(value) = seq.next_element_seed(Read(&mut *self.0))? {
            self.0.begun.extend(value.node());
        }
        let begin = self.0.done.len();
        self.0.done.extend(self.0.begun.drain(from..));
        Ok(Value::Nodes(begin..self.0.done.len()))
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
