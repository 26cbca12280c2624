use super::markdown;
use crate::source::{
    file::fuzz::Random,
    jira::markdown::read::{nasty, read, squeeze},
};

fn all(cases: &[(&str, &str)]) {
    for (wiki, expected) in cases {
        assert_eq!(markdown(wiki), *expected, "of {wiki:?}");
    }
}

#[test]
fn headings_rules_and_quotes_are_lines_of_their_own() {
    all(&[
        ("h1. A *b*\r\ntext", "# A **b**\n\ntext"),
        ("h6. a", "###### a"),
        ("h7. a", "h7. a"),
        ("h1.a", "h1.a"),
        ("a\n----\nb", "a\n\n***\n\nb"),
        ("bq. a _b_\nc", "> a _b_\n\nc"),
        ("", ""),
        (" \n\n", ""),
    ]);
}

#[test]
fn lines_stay_lines_and_empty_lines_part_paragraphs() {
    all(&[
        ("a\nb\n\nc", "a  \nb\n\nc"),
        ("a \\\\ b", "a  \nb"),
        ("a\\\\b", "a  \nb"),
        ("\\\\host\\share", "\\\\\\host\\share"),
    ]);
}

#[test]
fn lists_nest_and_mix() {
    all(&[
        ("* a\n** b\n*** c\n* d", "- a\n  - b\n    - c\n- d"),
        ("# a\n## b\n# c", "1. a\n   1. b\n2. c"),
        ("# a\n#* b\n#* c\n# d", "1. a\n   - b\n   - c\n2. d"),
        ("- a\n- b", "- a\n- b"),
        ("- a\n-- b", "- a\n  - b"),
        ("** a\n** b\n* c", "- a\n- b\n\n+ c"),
        ("* a\nmore\n* b", "- a  \n  more\n- b"),
        ("* a\n\n* b", "- a\n\n+ b"),
        ("* a\n# b", "- a\n\n1. b"),
        ("*bold* a", "**bold** a"),
        ("-- a", "-- a"),
        ("#123", "#123"),
    ]);
}

#[test]
fn code_is_kept_as_it_is() {
    all(&[
        ("{code}\n*a* `b`\n\n c\n{code}", "```\n*a* `b`\n\n c\n```"),
        ("{code:java}x{code}", "```java\nx\n```"),
        (
            "{code:title=A.java|java}\nx\n{code}",
            "**A.java**\n\n```java\nx\n```",
        ),
        (
            "{code:java|title=A.java|borderStyle=solid}x{code}",
            "**A.java**\n\n```java\nx\n```",
        ),
        ("{code:language=sql}x{code}", "```sql\nx\n```"),
        (
            "{noformat}\n{code}\n```\n{noformat}",
            "````\n{code}\n```\n````",
        ),
        ("a {code}b{code} c", "a\n\n```\nb\n```\n\nc"),
        (
            "# a\n{code}\nx\n{code}\n# b",
            "1. a\n   ```\n   x\n   ```\n2. b",
        ),
        ("a {code} b", "a {code} b"),
        ("\\{code}a{code}", "{code}a{code}"),
        ("{code:a\nb{code}", "{code:a  \nb{code}"),
    ]);
}

#[test]
fn quotes_and_panels_hold_blocks() {
    all(&[
        ("{quote}\na\n* b\n{quote}\nc", "> a\n>\n> - b\n\nc"),
        (
            "{panel:title=My title|borderStyle=solid}\na\n{panel}",
            "> **My title**\n>\n> a",
        ),
        ("{panel}{code}x{code}{panel}", "> ```\n> x\n> ```"),
        ("{info}a{info}", "> [!NOTE]\n>\n> a"),
        ("{tip}a{tip}", "> [!TIP]\n>\n> a"),
        ("{note}a{note}", "> [!NOTE]\n>\n> a"),
        (
            "{warning:title=T}a{warning}",
            "> [!WARNING]\n> **T**\n>\n> a",
        ),
        ("{quote}a", "{quote}a"),
        ("{new}a{new}", "{new}a{new}"),
    ]);
}

#[test]
fn tables_have_headers_and_cells_with_more_than_a_line() {
    all(&[
        (
            "||A||B||\n|a|b|\nc",
            "| A | B |\n| --- | --- |\n| a | b |\n\nc",
        ),
        ("|a|b", "|  |  |\n| --- | --- |\n| a | b |"),
        (
            "|a\nb|* c\n* d|",
            "|  |  |\n| --- | --- |\n| a<br>b | - c<br>- d |",
        ),
        ("||A|b|", "| A | b |\n| --- | --- |"),
        ("|a \\\\ b| |", "|  |  |\n| --- | --- |\n| a<br>b |  |"),
        (
            "|[x|http://y]|{{a|b}}|!c.png|thumbnail!|\\||",
            "|  |  |  |  |\n| --- | --- | --- | --- |\n| [x](http://y) | `a\\|b` | [attachment: c.png] | \\| |",
        ),
        (
            "|x|{code}a|b{code}|y|",
            "|  |  |  |\n| --- | --- | --- |\n| x | `a\\|b` | y |",
        ),
    ]);
}

#[test]
fn marks_stand_around_words() {
    all(&[
        ("*a* _b_ -c- +d+", "**a** _b_ ~~c~~ <u>d</u>"),
        ("x ^a^ ~b~ ??c??", "x <sup>a</sup> <sub>b</sub> _c_"),
        ("*_a_*", "**_a_**"),
        ("*a b*, (*c*)", "**a b**, (**c**)"),
        ("x{*}a{*}y H{~}2{~}O", "x**a**y H<sub>2</sub>O"),
        ("{color:red}a{color} {color:#ff0000}*b*{color}", "a **b**"),
        ("{{a_b*c*}} {{${x}}}", "`a_b*c*` `${x}`"),
        (
            "my_repo_name a-b-c 2*3*4 a+b+c",
            "my_repo_name a-b-c 2\\*3\\*4 a+b+c",
        ),
        ("--flag -v *.rs * a *", "--flag -v \\*.rs * a *"),
        ("(-) a (-) (*) b (*)", "(-) a (-) (\\*) b (\\*)"),
        ("\\*a\\* \\{b} \\[c|http://d]", "\\*a\\* {b} [c|http://d]"),
        ("*a\nb*", "\\*a  \nb\\*"),
        ("{anchor:x}a", "a"),
        ("a {{b", "a {{b"),
    ]);
}

#[test]
fn links_in_all_their_forms() {
    all(&[
        ("[http://x/a_b]", "<http://x/a_b>"),
        ("[a *b*|http://x/a_b]", "[a **b**](http://x/a_b)"),
        ("[http://x/y|http://x/y|smart-link]", "<http://x/y>"),
        ("[a|http://x/y|smart-card]", "[a](http://x/y)"),
        ("[a|http://x/y|tip]", "[a](http://x/y \"tip\")"),
        ("[a|b|http://x/y]", "[a|b](http://x/y)"),
        ("[~mia] [~accountid:5b:1]", "@mia @5b:1"),
        (
            "[^a b.pdf] [log|^a.txt]",
            "[attachment: a b.pdf] log ([attachment: a.txt])",
        ),
        (
            "[mailto:a@b.c] [m|mailto:a@b.c]",
            "<mailto:a@b.c> [m](mailto:a@b.c)",
        ),
        ("[#top] [up|#top]", "top [up](#top)"),
        ("[Mia|~mia]", "Mia (@mia)"),
        ("[PROJ-1] [WIP] a[0]", "[PROJ-1] [WIP] a[0]"),
        ("[a|b]", "[a|b]"),
        ("[a", "[a"),
        (
            "Repo: https://h/a/my_repo_x-y-z.git, *b*",
            "Repo: https://h/a/my_repo_x-y-z.git, **b**",
        ),
        ("see https://h/_a_/*b* c", "see <https://h/_a_/*b>\\* c"),
        ("*https://h/a*", "**https://h/a**"),
        (
            "!a.png|width=300! !http://x/y.png!",
            "[attachment: a.png] ![](http://x/y.png)",
        ),
        ("wow! that is. it!", "wow! that is. it!"),
    ]);
}

#[test]
fn control_characters_are_dropped() {
    assert_eq!(
        markdown("a\u{0}b\u{1b}c\u{85}\td\r\n\u{1}h1. x"),
        "abc\td\n\n# x"
    );
}

#[test]
fn every_word_survives_whatever_stands_around_it() {
    // Names of anchors and sizes of images are left out on purpose.
    const MARKUP: [&str; 32] = [
        "\n* ",
        "\n# ",
        "\n** ",
        "\n|",
        "||",
        "|",
        "\n\n",
        "{quote}",
        "{panel:title=x}",
        "{panel}",
        "{code}",
        "{code:java}",
        "{noformat}",
        "{info}",
        "{color:red}",
        "{color}",
        "{*}",
        "{{",
        "}}",
        "[",
        "]",
        "|http://l.example/x",
        "??",
        "\nh2. ",
        "\nbq. ",
        "\n----\n",
        "\\\\",
        "^",
        "-",
        "}",
        "|smart-link]",
        "\n- ",
    ];
    for seed in 0..6000 {
        let mut random = Random::new(seed);
        let (mut wiki, mut words) = (String::new(), 0);
        for _ in 0..random.below(20) {
            for _ in 0..random.below(4) {
                wiki += MARKUP[random.below(MARKUP.len())];
            }
            if random.below(2) == 0 {
                wiki += &nasty(&mut |n| random.below(n), words).replace('!', "");
            } else {
                wiki += &format!(" w{words}w ");
            }
            words += 1;
        }
        let markdown = markdown(&wiki);
        for word in 0..words {
            let word = format!("w{word}w");
            assert!(
                markdown.contains(&word),
                "seed {seed}: {word} is lost in\n{markdown}\nof {wiki}"
            );
        }
    }
}

#[test]
fn text_without_markup_is_read_as_text_and_nothing_else() {
    // Of the signs only those that mean nothing to Jira.
    let harmless = |c: &char| !"\\{}[]!*_-+^~?|".contains(*c) && !c.is_whitespace();
    for seed in 0..6000 {
        let mut random = Random::new(seed);
        let text = nasty(&mut |n| random.below(n), 0);
        let text: String = text.chars().filter(harmless).collect();
        if text.starts_with('#') {
            continue;
        }
        let markdown = markdown(&text);
        let read = read(&markdown);
        assert_eq!(read.text(), squeeze(&text), "seed {seed}: {markdown}");
        assert_eq!(read.blocks, ["paragraph"], "seed {seed}: {markdown}");
    }
}

#[test]
fn a_hostile_text_takes_no_longer_and_stays_small() {
    for piece in [
        "[",
        "]",
        "{{",
        "}}",
        "*",
        "* ",
        "*a",
        "*a* ",
        "_a",
        "|",
        "||",
        "|a",
        "|a\n",
        "!",
        "!a",
        "!a.b|",
        "{",
        "{code",
        "{code:",
        "{code}",
        "{code}x{code}",
        "{quote}",
        "{quote}\n",
        "{panel}a",
        "{anchor:",
        "|{code}a",
        "{color:",
        "{color}",
        "{*}",
        "\\",
        "\\\\",
        "\n",
        "* a\n",
        "*",
        "#",
        "*#",
        "a://",
        "://",
        "a://b|",
        "[a|",
        "[a|http://b",
        "[a|http://b]",
        "??",
        "??a",
        "~a",
        "-",
        "- ",
        "&",
        "`",
        "h1. ",
        "bq. a\n",
        "**** a\n#### b\n",
    ] {
        let wiki = piece.repeat((1 << 17) / piece.len());
        let markdown = markdown(&wiki);
        assert!(
            markdown.len() < 8 * wiki.len(),
            "{piece:?}: {}",
            markdown.len()
        );
    }
    // Each item one deeper, as far as it goes.
    let deep: String = (1..1400)
        .map(|n| format!("{} a\n", "*".repeat(n)))
        .collect();
    assert!(markdown(&deep).len() < 4 * deep.len());
}
