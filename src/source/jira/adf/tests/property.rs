//! Promises that hold for every document, on a few thousand random ones.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::markdown;
use crate::source::{
    file::fuzz::Random,
    jira::markdown::read::{nasty, read, squeeze},
};

/// Makes documents, and remembers what they say.
struct Maker {
    random: Random,
    texts: Vec<String>,
    links: Vec<String>,
}

impl Maker {
    fn new(seed: u64) -> Maker {
        Maker {
            random: Random::new(seed),
            texts: Vec::new(),
            links: Vec::new(),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n)
    }

    fn nasty(&mut self) -> String {
        let number = self.texts.len();
        nasty(&mut |n| self.random.below(n), number)
    }

    fn text(&mut self) -> String {
        let text = self.nasty();
        self.texts.push(text.clone());
        text
    }

    fn url(&mut self) -> String {
        const REST: [&str; 8] = [
            "",
            "a b",
            "(x",
            "a_b_",
            "?q=1&amp;b=*",
            "\\_x",
            "#a~b~",
            "ünï",
        ];
        let url = format!(
            "https://l{}.example/{}",
            self.links.len(),
            REST[self.below(REST.len())]
        );
        self.links.push(url.clone());
        url
    }

    fn marks(&mut self) -> Vec<Value> {
        let mut marks = Vec::new();
        for name in [
            "strong",
            "em",
            "strike",
            "underline",
            "code",
            "textColor",
            "new",
        ] {
            if self.below(5) == 0 {
                marks.push(json!({"type": name, "attrs": {"color": "#ff0000"}}));
            }
        }
        if self.below(6) == 0 {
            let side = ["sub", "sup"][self.below(2)];
            marks.push(json!({"type": "subsup", "attrs": {"type": side}}));
        }
        if self.below(6) == 0 {
            let url = self.url();
            marks.push(json!({"type": "link", "attrs": {"href": url, "title": "\"`t"}}));
        }
        marks
    }

    fn inline(&mut self) -> Value {
        match self.below(12) {
            0 => json!({"type": "hardBreak"}),
            1 => {
                let url = self.url();
                let card = ["inlineCard", "newCard"][self.below(2)];
                match self.below(2) {
                    0 => json!({"type": card, "attrs": {"url": url}}),
                    _ => json!({"type": card, "attrs": {"data": {"url": url}}}),
                }
            }
            2 => {
                let kind = [
                    "mention",
                    "emoji",
                    "status",
                    "placeholder",
                    "inlineExtension",
                    "newInline",
                ];
                let kind = kind[self.below(6)];
                json!({"type": kind, "attrs": {"text": self.text()}})
            }
            3 => {
                let media = ["media", "mediaInline"][self.below(2)];
                json!({"type": media, "attrs": {"type": "external", "url": self.url(), "alt": "`[x"}})
            }
            4 => {
                let space = ["", " ", "\n"][self.below(3)];
                json!({"type": "text", "text": space})
            }
            _ => {
                let marks = self.marks();
                json!({"type": "text", "text": self.text(), "marks": marks})
            }
        }
    }

    fn inlines(&mut self) -> Vec<Value> {
        (0..self.below(5)).map(|_| self.inline()).collect()
    }

    fn blocks(&mut self, depth: usize) -> Vec<Value> {
        (0..self.below(4)).map(|_| self.block(depth)).collect()
    }

    fn of(&mut self, depth: usize, kinds: &[&str]) -> Vec<Value> {
        let mut nodes = Vec::new();
        for _ in 0..self.below(4) {
            let kind = kinds[self.below(kinds.len())];
            nodes.push(
                json!({"type": kind, "attrs": {"state": "DONE"}, "content": self.blocks(depth)}),
            );
        }
        nodes
    }

    fn block(&mut self, depth: usize) -> Value {
        if depth == 0 || self.below(3) == 0 {
            let kind = ["paragraph", "caption", "p"][self.below(3)];
            return json!({"type": kind, "content": self.inlines()});
        }
        let depth = depth - 1;
        match self.below(14) {
            0 => {
                let level = self.below(8);
                json!({"type": "heading", "attrs": {"level": level}, "content": self.inlines()})
            }
            1 => {
                let text = self.text();
                json!({"type": "codeBlock", "attrs": {"language": "a`b"}, "content": [{"type": "text", "text": text}]})
            }
            2 => json!({"type": "rule"}),
            3 => {
                let kind = [
                    "blockquote",
                    "layoutSection",
                    "layoutColumn",
                    "bodiedExtension",
                    "bodiedSyncBlock",
                    "new",
                ];
                let kind = kind[self.below(6)];
                json!({"type": kind, "content": self.blocks(depth)})
            }
            4 => {
                let kind = [
                    "info", "note", "tip", "warning", "error", "success", "custom", "x",
                ];
                let kind = kind[self.below(8)];
                json!({"type": "panel", "attrs": {"panelType": kind}, "content": self.blocks(depth)})
            }
            5 => {
                let title = self.text();
                json!({"type": "expand", "attrs": {"title": title}, "content": self.blocks(depth)})
            }
            6 => {
                json!({"type": "bulletList", "content": self.of(depth, &["listItem", "bulletList", "x"])})
            }
            7 => {
                let order = self.below(12);
                json!({"type": "orderedList", "attrs": {"order": order}, "content": self.of(depth, &["listItem"])})
            }
            8 => {
                json!({"type": "taskList", "content": self.of(depth, &["taskItem", "blockTaskItem", "taskList"])})
            }
            9 => {
                json!({"type": "decisionList", "content": [{"type": "decisionItem", "content": self.inlines()}]})
            }
            10 => {
                let url = self.url();
                let card = ["blockCard", "embedCard"][self.below(2)];
                json!({"type": card, "attrs": {"url": url}})
            }
            11 => json!({"type": "mediaSingle", "content": self.inlines()}),
            12 => {
                let mut rows = Vec::new();
                for _ in 0..self.below(4) {
                    let cells = self.of(depth, &["tableHeader", "tableCell", "x"]);
                    rows.push(json!({"type": "tableRow", "content": cells}));
                }
                json!({"type": "table", "content": rows})
            }
            _ => json!({"type": "extension", "attrs": {"text": self.text()}}),
        }
    }

    fn doc(&mut self) -> String {
        json!({"type": "doc", "version": 1, "content": self.blocks(4)}).to_string()
    }
}

#[test]
fn every_text_and_every_link_is_read_again_in_order() {
    for seed in 0..3000 {
        let mut maker = Maker::new(seed);
        let doc = maker.doc();
        let markdown = markdown(&doc).unwrap();
        let read = read(&markdown);
        let seen = read.text();
        let mut at = 0;
        for text in &maker.texts {
            let text = squeeze(text);
            let text = text.strip_prefix('@').unwrap_or(&text);
            match seen[at..].find(text) {
                Some(n) => at += n + text.len(),
                None => panic!(
                    "seed {seed}: {text:?} is missing in\n{markdown}\nread as {seen}\nof {doc}"
                ),
            }
        }
        for link in &maker.links {
            let found = read.links.contains(link);
            assert!(
                found,
                "seed {seed}: {link} is missing in\n{markdown}\nread {:?}\nof {doc}",
                read.links
            );
        }
    }
}

#[test]
fn text_without_marks_is_read_as_text_and_nothing_else() {
    for seed in 0..6000 {
        let mut maker = Maker::new(seed);
        let texts: Vec<String> = (0..1 + maker.below(3)).map(|_| maker.text()).collect();
        let mut content = Vec::new();
        for text in &texts {
            content.push(json!({"type": "text", "text": text, "marks": [{"type": "border"}]}));
            if maker.below(3) == 0 {
                content.push(json!({"type": "hardBreak"}));
            }
        }
        let doc = json!({"type": "paragraph", "content": content}).to_string();
        let markdown = markdown(&doc).unwrap();
        let read = read(&markdown);
        assert_eq!(
            read.text(),
            squeeze(&texts.concat()),
            "seed {seed}: {markdown}"
        );
        assert_eq!(read.blocks, ["paragraph"], "seed {seed}: {markdown}");
        for (text, around) in &read.runs {
            let odd = around.iter().any(|mark| **mark != format!("link {text}"));
            assert!(!odd, "seed {seed}: {text:?} is {around:?} in {markdown}");
        }
    }
}

#[test]
fn every_mark_is_read_again_on_its_text_alone() {
    for seed in 0..6000 {
        let mut maker = Maker::new(seed);
        let mut content = Vec::new();
        let mut expected = Vec::new();
        for number in 0..1 + maker.below(6) {
            let word = format!("w{number}w");
            let edge = ["", "", "", " ", ".", "*", "「", "_", "\n", "("];
            let text = format!("{}{word}{}", edge[maker.below(10)], edge[maker.below(10)]);
            let marks = maker.marks();
            let mut names = BTreeSet::new();
            for mark in &marks {
                let attr = |name: &str| mark["attrs"][name].as_str().unwrap_or_default().to_owned();
                match mark["type"].as_str().unwrap() {
                    "strike" => names.insert("del".into()),
                    "underline" => names.insert("u".into()),
                    "subsup" => names.insert(attr("type")),
                    "link" => names.insert(format!("link {}", attr("href"))),
                    "textColor" | "new" => false,
                    name => names.insert(name.to_owned()),
                };
            }
            content.push(json!({"type": "text", "text": text, "marks": marks}));
            expected.push((word, names));
        }
        let doc = json!({"type": "paragraph", "content": content}).to_string();
        let markdown = markdown(&doc).unwrap();
        let read = read(&markdown);
        for (word, names) in expected {
            assert_eq!(
                read.around(&word),
                Some(&names),
                "seed {seed}: {word} in {markdown}\nof {doc}"
            );
        }
    }
}
