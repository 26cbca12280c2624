use serde_json::{Value, json};

use super::markdown;

mod property;

/// The Markdown of nodes that stand in a document.
fn of(content: Value) -> String {
    let doc = json!({"version": 1, "type": "doc", "content": content});
    markdown(&doc.to_string()).unwrap()
}

/// The Markdown of nodes that stand in a paragraph.
fn line(content: Value) -> String {
    of(json!([{"type": "paragraph", "content": content}]))
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn marked(words: &str, marks: &[&str]) -> Value {
    let marks: Vec<Value> = marks.iter().map(|name| json!({"type": name})).collect();
    json!({"type": "text", "text": words, "marks": marks})
}

fn para(words: &str) -> Value {
    json!({"type": "paragraph", "content": [text(words)]})
}

fn item(content: Value) -> Value {
    json!({"type": "listItem", "content": content})
}

#[test]
fn nothing_is_empty_and_a_string_is_itself() {
    for empty in ["null", "\"\"", "{}", "[]", "true", r#"{"type":"doc"}"#] {
        assert_eq!(markdown(empty), Ok(String::new()), "{empty}");
    }
    for empty in [
        json!([]),
        json!(null),
        json!([{"type": "paragraph", "content": []}]),
    ] {
        assert_eq!(of(empty), "");
    }
    let plain = markdown(r#" "*a*\n\u0001- b_" "#);
    assert_eq!(plain, Ok("*a*\n- b_".to_owned()));
}

#[test]
fn what_is_no_json_or_too_deep_is_an_error() {
    for bad in ["", "{", "[1,", "nul"] {
        let error = markdown(bad).unwrap_err();
        assert!(error.starts_with("it is no document: "), "{error}");
    }
    let deep = |n: usize| format!("{}{}", r#"{"content":["#.repeat(n), "]}".repeat(n));
    assert!(markdown(&deep(60)).is_ok());
    assert!(markdown(&deep(70)).is_err());
    assert!(markdown(&"[".repeat(1 << 20)).is_err());
}

#[test]
fn headings_have_their_level() {
    let heading = |level: Value| {
        of(json!([{"type": "heading", "attrs": {"level": level}, "content": [text("a\nb #")]}]))
    };
    assert_eq!(heading(json!(3)), "### a b \\#");
    assert_eq!(heading(json!("2")), "## a b \\#");
    assert_eq!(heading(json!(3.0)), "### a b \\#");
    assert_eq!(heading(json!(99)), "###### a b \\#");
    assert_eq!(heading(json!(null)), "# a b \\#");
    assert_eq!(of(json!([{"type": "heading", "content": []}])), "");
}

#[test]
fn text_is_escaped_only_where_it_would_mean_something() {
    for same in [
        "my_repo_name",
        "2 * 3 _ 4",
        "a < b & c > d",
        "https://host/a_b?q=1&r=2#c",
        "Repo: https://github.com/acme/my_repo.git, see",
        "git@github.com:acme/my_repo.git",
        "C:\\dir",
        "[WIP] fix (now)",
        "C# 1.2 - x + y = z",
        "~/x",
        "wow!",
        "1.5",
        "#123",
        "-v",
        "a | b",
        "x [a]: b",
    ] {
        assert_eq!(line(json!([text(same)])), same);
    }
    for (given, expected) in [
        ("*a*", "\\*a\\*"),
        ("_a_ __init__", "\\_a\\_ \\_\\_init\\_\\_"),
        ("`a`", "\\`a\\`"),
        ("~~a~~", "\\~\\~a\\~\\~"),
        ("[a](b)", "[a\\](b)"),
        ("![a](b)", "\\![a\\](b)"),
        ("[a]: b", "[a\\]: b"),
        ("<b>", "\\<b>"),
        ("&amp;", "\\&amp;"),
        ("\\*", "\\\\\\*"),
        ("# a", "\\# a"),
        ("- a", "\\- a"),
        ("+ a", "\\+ a"),
        ("> a", "\\> a"),
        ("1. a", "1\\. a"),
        ("12) a", "12\\) a"),
        ("---", "\\---"),
        ("a\n===", "a  \n\\==="),
        ("a|b\n-|-", "a|b  \n\\-|-"),
        ("    a", "a"),
        ("[x] a", "\\[x] a"),
        ("see https://host/_a.", "see <https://host/_a>."),
        ("(https://host/a*b)", "(<https://host/a*b>)"),
    ] {
        assert_eq!(line(json!([text(given)])), expected, "{given}");
    }
}

#[test]
fn control_characters_are_dropped() {
    let nodes = json!([text("a\u{0}b\u{1b}[31mc\u{7f}\u{85}d\te\r\nf")]);
    assert_eq!(line(nodes), "ab[31mcd\te  \nf");
    // Not after it was looked at: this begins a line.
    assert_eq!(line(json!([text("\u{1}# a")])), "\\# a");
}

#[test]
fn marks_stand_around_their_text() {
    for (marks, expected) in [
        (&["strong"][..], "**a**"),
        (&["em"], "_a_"),
        (&["strike"], "~~a~~"),
        (&["underline"], "<u>a</u>"),
        (&["code"], "`a`"),
        (&["em", "strong"], "**_a_**"),
        (&["code", "strong"], "**`a`**"),
        (&["subsup"], "<sup>a</sup>"),
    ] {
        assert_eq!(line(json!([marked("a", marks)])), expected);
    }
    let sub = json!({"type": "text", "text": "2", "marks": [{"type": "subsup", "attrs": {"type": "sub"}}]});
    assert_eq!(line(json!([text("H"), sub, text("O")])), "H<sub>2</sub>O");
}

#[test]
fn marks_without_a_form_in_markdown_leave_the_text_alone() {
    for name in [
        "alignment",
        "annotation",
        "backgroundColor",
        "border",
        "breakout",
        "dataConsumer",
        "fontSize",
        "fragment",
        "indentation",
        "textColor",
        "strongest",
    ] {
        let nodes = json!([{"type": "paragraph", "marks": [{"type": name}], "content": [marked("a", &[name])]}]);
        assert_eq!(of(nodes), "a", "{name}");
    }
}

#[test]
fn space_at_the_edge_of_a_mark_stands_outside() {
    let nodes = json!([
        marked("bar ", &["strong"]),
        text("baz"),
        marked(" x", &["em"])
    ]);
    assert_eq!(line(nodes), "**bar** baz _x_");
    assert_eq!(
        line(json!([text("a"), marked(" ", &["strong"]), text("b")])),
        "a b"
    );
}

#[test]
fn neighbours_with_the_same_mark_are_one() {
    let nodes = json!([
        marked("a", &["strong"]),
        marked("b ", &["strong", "textColor"]),
        marked("c", &["strong", "em"]),
    ]);
    assert_eq!(line(nodes), "**ab _c_**");
    let code = json!([marked("a", &["code"]), marked("b", &["code", "annotation"])]);
    assert_eq!(line(code), "`ab`");
}

#[test]
fn where_signs_would_be_no_mark_tags_are() {
    let nodes = |mark| json!([text("a"), marked("(b)", &[mark]), text("c")]);
    assert_eq!(line(nodes("strong")), "a<strong>(b)</strong>c");
    assert_eq!(line(nodes("em")), "a<em>(b)</em>c");
    assert_eq!(line(nodes("strike")), "a<del>(b)</del>c");
    assert_eq!(
        line(json!([text("a"), marked("b", &["em"]), text("c")])),
        "a*b*c"
    );
}

#[test]
fn code_keeps_its_backticks_and_signs() {
    for (code, expected) in [
        ("a_*b*", "`a_*b*`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        (" a ", "`  a  `"),
        ("<a> &amp; \\", "`<a> &amp; \\`"),
    ] {
        assert_eq!(line(json!([marked(code, &["code"])])), expected);
    }
}

#[test]
fn links_keep_their_address_text_and_title() {
    let link = |words: &str, href: &str, title: &str| {
        let mark = json!({"type": "link", "attrs": {"href": href, "title": title}});
        line(json!([{"type": "text", "text": words, "marks": [mark]}]))
    };
    for (words, href, title, expected) in [
        ("a", "http://x/y_z", "", "[a](http://x/y_z)"),
        (
            "a [b]",
            "http://x",
            "t \"q\"",
            "[a \\[b\\]](http://x \"t \\\"q\\\"\")",
        ),
        ("http://x/_y", "http://x/_y", "", "<http://x/_y>"),
        ("a", "http://x/(y", "", "[a](<http://x/(y>)"),
        ("a", "http://x/(y)", "", "[a](http://x/(y))"),
        ("a", "http://x/y z", "", "[a](<http://x/y z>)"),
        ("a", "/browse/A-1", "", "[a](/browse/A-1)"),
        (" ", "http://x", "", "<http://x>"),
        ("a", "", "", "a"),
    ] {
        assert_eq!(link(words, href, title), expected);
    }
    // Parts of one link stay one link.
    let mark = json!({"type": "link", "attrs": {"href": "http://x"}});
    let nodes = json!([
        {"type": "text", "text": "a ", "marks": [mark]},
        {"type": "text", "text": "b", "marks": [mark, {"type": "strong"}]},
    ]);
    assert_eq!(line(nodes), "[a **b**](http://x)");
}

#[test]
fn cards_are_their_address() {
    for attrs in [
        json!({"url": "https://h/a_b"}),
        json!({"data": {"@type": "Document", "name": "n", "url": "https://h/a_b"}}),
        json!({"url": "", "data": {"url": "https://h/a_b"}}),
    ] {
        for kind in ["inlineCard", "blockCard", "embedCard", "futureCard"] {
            let card = json!({"type": kind, "attrs": attrs});
            assert_eq!(of(json!([card])), "<https://h/a_b>", "{kind} {attrs}");
            let card = json!([text("see "), card, text(".")]);
            assert_eq!(line(card).replace("  \n", " "), "see <https://h/a_b>.");
        }
    }
    let card = |attrs| line(json!([{"type": "inlineCard", "attrs": attrs}]));
    assert_eq!(
        card(json!({"url": "https://h/a b"})),
        "[https://h/a b](<https://h/a b>)"
    );
    assert_eq!(card(json!({"data": {"name": "n"}})), "n");
    assert_eq!(card(json!({})), "");
    let data = json!([{"type": "blockCard", "attrs": {"datasource": {"id": "x"}, "url": "https://h/jql"}}]);
    assert_eq!(of(data), "<https://h/jql>");
}

#[test]
fn people_faces_days_and_states_are_words() {
    for (node, expected) in [
        (
            json!({"type": "mention", "attrs": {"id": "1", "text": "@Mia"}}),
            "@Mia",
        ),
        (
            json!({"type": "mention", "attrs": {"id": "1", "text": "Mia"}}),
            "@Mia",
        ),
        (json!({"type": "mention", "attrs": {"id": 1}}), "@1"),
        (
            json!({"type": "emoji", "attrs": {"shortName": ":a_b:", "text": "🦀"}}),
            "🦀",
        ),
        (
            json!({"type": "emoji", "attrs": {"shortName": ":a_b:"}}),
            ":a_b:",
        ),
        (
            json!({"type": "date", "attrs": {"timestamp": "1656374400000"}}),
            "2022-06-28",
        ),
        (
            json!({"type": "date", "attrs": {"timestamp": 1656460799999_u64}}),
            "2022-06-28",
        ),
        (
            json!({"type": "date", "attrs": {"timestamp": "soon"}}),
            "soon",
        ),
        (
            json!({"type": "status", "attrs": {"text": "IN REVIEW", "color": "blue"}}),
            "[IN REVIEW]",
        ),
        (
            json!({"type": "placeholder", "attrs": {"text": "Type here"}}),
            "Type here",
        ),
        (
            json!({"type": "inlineExtension", "attrs": {"text": "macro"}}),
            "macro",
        ),
        (json!({"type": "hardBreak"}), ""),
    ] {
        assert_eq!(line(json!([node])), expected);
    }
}

#[test]
fn a_break_ends_the_line_and_not_the_paragraph() {
    let nodes = json!([text("a "), {"type": "hardBreak"}, {"type": "hardBreak"}, text(" - b"), {"type": "hardBreak"}]);
    assert_eq!(line(nodes), "a  \n\\- b");
}

#[test]
fn media_are_images_or_attachments() {
    let media = |attrs: Value| json!({"type": "media", "attrs": attrs});
    let outside = media(json!({"type": "external", "url": "http://x/a_b.png", "alt": "s[1]"}));
    let file = media(json!({"type": "file", "id": "f1", "collection": "", "alt": "log_1.txt"}));
    let nameless = media(json!({"type": "file", "id": "f1"}));
    let single = |media: &Value| of(json!([{"type": "mediaSingle", "content": [media]}]));
    assert_eq!(single(&outside), "![s\\[1\\]](http://x/a_b.png)");
    assert_eq!(single(&file), "[attachment: log_1.txt]");
    assert_eq!(single(&nameless), "[attachment: f1]");
    let group = of(json!([{"type": "mediaGroup", "content": [file, nameless]}]));
    assert_eq!(group, "[attachment: log_1.txt]  \n[attachment: f1]");
    let inline =
        json!([text("see "), {"type": "mediaInline", "attrs": {"id": "f1", "alt": "a.zip"}}]);
    assert_eq!(line(inline), "see [attachment: a.zip]");
    let caption = json!({"type": "caption", "content": [text("as seen")]});
    let with_caption = of(json!([{"type": "mediaSingle", "content": [nameless, caption]}]));
    assert_eq!(with_caption, "[attachment: f1]\n\nas seen");
    let mut linked = outside;
    linked["marks"] = json!([{"type": "link", "attrs": {"href": "http://y"}}, {"type": "border"}]);
    assert_eq!(single(&linked), "[![s\\[1\\]](http://x/a_b.png)](http://y)");
}

#[test]
fn a_fence_is_longer_than_any_in_its_code() {
    let block = |language: Value, code: &str| {
        of(json!([{"type": "codeBlock", "attrs": {"language": language}, "content": [text(code)]}]))
    };
    assert_eq!(
        block(json!("rust"), "a\n\n  b *c*\n"),
        "```rust\na\n\n  b *c*\n```"
    );
    assert_eq!(
        block(json!(null), "````\n<a> |"),
        "`````\n````\n<a> |\n`````"
    );
    assert_eq!(block(json!("a`b c"), "x"), "```abc\nx\n```");
    assert_eq!(block(json!("c"), "\n"), "");
    assert_eq!(of(json!([{"type": "codeBlock"}])), "");
}

#[test]
fn quotes_and_panels_are_quotes() {
    let nodes = json!([para("a"), para("b")]);
    let quote = of(json!([{"type": "blockquote", "content": nodes}]));
    assert_eq!(quote, "> a\n>\n> b");
    for (kind, name) in [
        ("info", "NOTE"),
        ("note", "NOTE"),
        ("tip", "TIP"),
        ("success", "TIP"),
        ("warning", "WARNING"),
        ("error", "CAUTION"),
        ("custom", "NOTE"),
    ] {
        let panel = of(json!([{"type": "panel", "attrs": {"panelType": kind}, "content": nodes}]));
        assert_eq!(panel, format!("> [!{name}]\n> a\n>\n> b"));
    }
    assert_eq!(
        of(json!([{"type": "blockquote", "content": []}, para("a")])),
        "a"
    );
}

#[test]
fn an_expand_keeps_its_title() {
    for kind in ["expand", "nestedExpand"] {
        let node = json!([{"type": kind, "attrs": {"title": "Logs "}, "content": [para("a")]}]);
        assert_eq!(of(node), "**Logs**\n\na");
    }
}

#[test]
fn lists_nest_with_their_numbers_and_blocks() {
    let code = json!({"type": "codeBlock", "content": [text("x\n\ny")]});
    let inner = json!({"type": "bulletList", "content": [item(json!([para("b")])), item(json!([para("c")]))]});
    let list = json!([{"type": "orderedList", "attrs": {"order": 9}, "content": [
        item(json!([para("a"), inner, code])),
        item(json!([para("d"), para("e")])),
    ]}]);
    let expected = "9. a\n   - b\n   - c\n\n   ```\n   x\n\n   y\n   ```\n10. d\n\n    e";
    assert_eq!(of(list), expected);
}

#[test]
fn a_list_after_a_list_of_its_kind_is_another_list() {
    let list = json!({"type": "bulletList", "content": [item(json!([para("a")]))]});
    assert_eq!(of(json!([list, list, list])), "- a\n\n+ a\n\n- a");
    assert_eq!(of(json!([list, para("x"), list])), "- a\n\nx\n\n- a");
}

#[test]
fn an_empty_item_is_no_item() {
    let list = json!([{"type": "orderedList", "content": [
        item(json!([])), item(json!([para("b")])), item(json!([{"type": "paragraph"}])),
    ]}]);
    assert_eq!(of(list), "2. b");
}

#[test]
fn tasks_have_boxes_and_decisions_say_so() {
    let task = |state: &str, kind: &str, content: Value| json!({"type": kind, "attrs": {"state": state}, "content": content});
    let nodes = json!([{"type": "taskList", "content": [
        task("DONE", "taskItem", json!([text("a")])),
        {"type": "taskList", "content": [task("TODO", "taskItem", json!([text("b")]))]},
        task("TODO", "blockTaskItem", json!([para("c")])),
        task("TODO", "taskItem", json!([])),
    ]}]);
    assert_eq!(of(nodes), "- [x] a\n  - [ ] b\n- [ ] c\n- [ ]");
    let nodes = json!([{"type": "decisionList", "content": [
        {"type": "decisionItem", "attrs": {"state": "DECIDED"}, "content": [text("go")]},
    ]}]);
    assert_eq!(of(nodes), "- Decision: go");
}

fn cell(kind: &str, content: Value) -> Value {
    json!({"type": kind, "content": content})
}

fn row(cells: Value) -> Value {
    json!({"type": "tableRow", "content": cells})
}

#[test]
fn tables_keep_a_cell_in_its_line() {
    let list = json!({"type": "bulletList", "content": [item(json!([para("x")])), item(json!([para("y")]))]});
    let code = json!({"type": "codeBlock", "content": [text("p|q\nr")]});
    let table = json!([{"type": "table", "attrs": {"isNumberColumnEnabled": true}, "content": [
        row(json!([cell("tableHeader", json!([para("A|B")])), cell("tableHeader", json!([]))])),
        row(json!([cell("tableCell", json!([para("a"), para("b")])), cell("tableCell", json!([list, code]))])),
        row(json!([cell("tableCell", json!([para("-")]))])),
    ]}]);
    let expected = "| A\\|B |  |\n| --- | --- |\n| a<br>b | - x<br>- y<br>`p\\|q`<br>`r` |\n| - |";
    assert_eq!(of(table), expected);
}

#[test]
fn a_table_without_a_header_gets_an_empty_one() {
    let table = json!([{"type": "table", "content": [row(json!([cell("tableCell", json!([para("a")]))]))]}]);
    assert_eq!(of(table), "|  |\n| --- |\n| a |");
    assert_eq!(of(json!([{"type": "table", "content": []}])), "");
}

#[test]
fn cells_that_reach_over_others_keep_the_columns() {
    let over = |name: &str, n: u64, words: &str| json!({"type": "tableCell", "attrs": {name: n}, "content": [para(words)]});
    let table = json!([{"type": "table", "content": [
        row(json!([over("rowspan", 2, "a"), over("colspan", 2, "b")])),
        row(json!([over("x", 1, "c"), over("x", 1, "d")])),
        row(json!([over("x", 1, "e"), over("x", 1, "f")])),
    ]}]);
    let expected = "|  |  |  |\n| --- | --- | --- |\n| a | b |  |\n|  | c | d |\n| e | f |";
    assert_eq!(of(table), expected);
}

#[test]
fn a_table_in_a_cell_is_lines_of_it() {
    let inner = json!({"type": "table", "content": [
        row(json!([cell("tableCell", json!([para("a")])), cell("tableCell", json!([para("b")]))])),
    ]});
    let table =
        json!([{"type": "table", "content": [row(json!([cell("tableHeader", json!([inner]))]))]}]);
    assert_eq!(of(table), "| a \\| b |\n| --- |");
}

#[test]
fn layouts_extensions_and_synced_blocks_are_their_content() {
    for kind in [
        "layoutSection",
        "layoutColumn",
        "bodiedExtension",
        "bodiedSyncBlock",
        "doc",
        "new",
    ] {
        let node = json!([{"type": kind, "attrs": {"extensionKey": "k"}, "content": [para("a"), para("b")]}]);
        assert_eq!(of(node), "a\n\nb", "{kind}");
    }
    let extension = json!([{"type": "extension", "attrs": {"extensionKey": "k", "text": "chart"}}]);
    assert_eq!(of(extension), "chart");
    assert_eq!(
        of(json!([{"type": "extension", "attrs": {"extensionKey": "k"}}])),
        ""
    );
    let synced = json!([{"type": "syncBlock", "attrs": {"resourceId": "r1"}}]);
    assert_eq!(of(synced), "[synced block r1]");
    assert_eq!(
        of(json!([para("a"), {"type": "rule"}, para("b")])),
        "a\n\n***\n\nb"
    );
}

#[test]
fn what_is_not_known_keeps_its_text() {
    let block = json!([{"type": "new", "text": "1", "attrs": {"text": "2", "localId": "l"}, "content": [text("3")]}]);
    assert_eq!(of(block), "12\n\n3");
    let inline = json!([text("a "), {"type": "team", "attrs": {"text": "@all"}}, text(" b")]);
    assert_eq!(line(inline), "a @all b");
    let block_in_line = json!([text("a"), {"type": "panel", "content": [para("b")]}, text("c")]);
    assert_eq!(line(block_in_line), "a  \nb  \nc");
    let text_in_text = json!([{"type": "text", "text": "a", "content": [text("b")]}]);
    assert_eq!(line(text_in_text), "ab");
}

#[test]
fn values_of_the_wrong_type_are_what_they_say() {
    assert_eq!(of(json!("a")), "a");
    assert_eq!(of(json!(para("a"))), "a");
    assert_eq!(
        of(json!([7, "a", null, true, 1.5, [para("b")]])),
        "7a1.5\n\nb"
    );
    let odd = json!([{"type": 7, "attrs": [1], "marks": {"type": "em"}, "content": {"type": "text", "text": 42}}]);
    assert_eq!(of(odd), "42");
    let odd = json!([{"type": "text", "text": "a", "marks": [null, 3, "strong", {"type": ["em"]}, {"type": "link"}]}]);
    assert_eq!(line(odd), "a");
    let odd = json!([{"type": "emoji", "attrs": {"shortName": {"a": [1]}, "text": -5}}]);
    assert_eq!(line(odd), "-5");
}

#[test]
fn a_hostile_document_stays_small() {
    let deepest = |open: &str, close: &str, inside: &str| {
        let depth = 55;
        format!("{}{inside}{}", open.repeat(depth), close.repeat(depth))
    };
    let quotes = r#"{"type":"blockquote","content":["#;
    let lists = r#"{"type":"bulletList","content":["#;
    let newlines = format!(
        r#"{{"type":"codeBlock","content":[{{"type":"text","text":"a{}a"}}]}}"#,
        "\\n".repeat(1 << 18)
    );
    let cells = r#"{"type":"tableCell","attrs":{"rowspan":1e9,"colspan":1e9}},"#.repeat(5000);
    let rows = r#"{"type":"tableRow"},"#.repeat(20_000);
    for doc in [
        deepest(quotes, "]}", &newlines),
        deepest(lists, "]}", &newlines),
        format!(
            r#"{{"type":"table","content":[{{"type":"tableRow","content":[{cells}0]}},{rows}0]}}"#
        ),
        format!(
            r#"{{"type":"codeBlock","content":["{}"]}}"#,
            "`".repeat(1 << 20)
        ),
        format!(r#"["{}"]"#, "*a_[".repeat(1 << 18)),
        format!(r#"["{}"]"#, "a://b*".repeat(1 << 17)),
        format!(r#"["{}"]"#, "://:".repeat(1 << 18)),
        format!(r#"["{}"]"#, "&".repeat(1 << 20)),
        format!(r#"["{}"]"#, "[](".repeat(1 << 18)),
    ] {
        let markdown = markdown(&doc).unwrap();
        assert!(
            markdown.len() < 16 * doc.len(),
            "{} of {}",
            markdown.len(),
            doc.len()
        );
    }
}
