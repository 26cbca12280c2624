//! Finds the macros that hold blocks, such as `{code}`.
//!
//! Never looks twice for an end that is not there, so that a text of nothing
//! but beginnings takes no longer than another.

/// What a macro makes of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Code, perhaps with a language and a title, or text as it is.
    Code,
    /// A quotation, or a box, perhaps with a title.
    Quote,
    /// A box of a kind that GitHub knows by this name.
    Alert(&'static str),
}

const KINDS: [(&str, Kind); 8] = [
    ("{code}", Kind::Code),
    ("{noformat}", Kind::Code),
    ("{quote}", Kind::Quote),
    ("{panel}", Kind::Quote),
    ("{info}", Kind::Alert("NOTE")),
    ("{note}", Kind::Alert("NOTE")),
    ("{tip}", Kind::Alert("TIP")),
    ("{warning}", Kind::Alert("WARNING")),
];

/// A macro with its body.
pub struct Macro<'a> {
    pub kind: Kind,
    /// Where it begins, in bytes.
    pub from: usize,
    /// Where what follows it begins.
    pub end: usize,
    pub body: &'a str,
    parameters: &'a str,
}

impl<'a> Macro<'a> {
    /// The parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut given = self.parameters.split('|');
        given.find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='))
    }

    /// The language of code: the parameter without a name, or the one called so.
    pub fn language(&self) -> &'a str {
        let first = self.parameters.split('|').find(|p| !p.contains('='));
        let named = || self.parameter("language").or(self.parameter("lang"));
        let language = first.filter(|p| !p.trim().is_empty()).or_else(named);
        language.unwrap_or_default().trim()
    }
}

/// What is known of the text so far.
#[derive(Default)]
pub struct Macros {
    /// The kinds that end nowhere below.
    endless: [bool; KINDS.len()],
}

impl Macros {
    /// The first macro that begins between `from` and `to`. Without `nested`,
    /// only those whose body is not read as markup.
    pub fn first<'a>(
        &mut self,
        text: &'a str,
        from: usize,
        to: usize,
        nested: bool,
    ) -> Option<Macro<'a>> {
        let mut at = from;
        while let Some(n) = text[at..to].find('{') {
            let begin = at + n;
            at = begin + 1;
            let escaped = text[from..begin].ends_with('\\');
            if escaped {
                continue;
            }
            let Some((number, parameters, body)) = opening(text, begin, to) else {
                continue;
            };
            let (end, kind) = KINDS[number];
            if self.endless[number] || kind != Kind::Code && !nested {
                continue;
            }
            let Some(size) = text[body..].find(end) else {
                self.endless[number] = true;
                continue;
            };
            return Some(Macro {
                kind,
                from: begin,
                end: body + size + end.len(),
                body: &text[body..body + size],
                parameters,
            });
        }
        None
    }
}

/// The number in [`KINDS`] of the macro that begins here, its parameters, and
/// where its body begins.
fn opening(text: &str, begin: usize, to: usize) -> Option<(usize, &str, usize)> {
    let rest = &text[begin..to];
    let number = KINDS.iter().position(|(end, _)| {
        let name = &end[..end.len() - 1];
        let after = rest.as_bytes().get(name.len());
        rest.starts_with(name) && matches!(after, Some(b':' | b'}'))
    })?;
    let size = KINDS[number].0.len() - 1;
    let given = &rest[size..];
    // Another brace first: these are no parameters.
    let close = given[1..].find(['{', '}']).map(|n| n + 1);
    let close = match given.starts_with('}') {
        true => 0,
        false => close.filter(|n| given[*n..].starts_with('}'))?,
    };
    let parameters = given[..close].strip_prefix(':').unwrap_or_default();
    Some((number, parameters, begin + size + close + 1))
}
