//! JQL, as far as people write it for an orchestrator: read into a tree, and
//! asked of one ticket. What Jira refuses is refused here, with its words.
//! Says nothing of paging and of who may see what.

mod tokens;

use std::{cmp::Ordering, iter::Peekable, vec::IntoIter};

use self::tokens::Token;
use super::{site::Site, stamp, ticket::Ticket};

/// A query that has been read.
pub struct Query {
    clause: Option<Clause>,
    order: Vec<(Field, bool)>,
}

enum Clause {
    And(Vec<Clause>),
    Or(Vec<Clause>),
    Not(Box<Clause>),
    Term {
        field: Field,
        is: Is,
        values: Vec<String>,
    },
}

/// What a term says, and what it says when `NOT` stands before it. A ticket
/// that has nothing in the field satisfies neither, but for `Empty`.
#[derive(Clone, Copy, PartialEq)]
enum Is {
    In,
    NotIn,
    Like,
    Unlike,
    Empty,
    Filled,
    Less,
    LessOrSame,
    More,
    MoreOrSame,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Field {
    Key,
    Id,
    Project,
    Status,
    Category,
    Labels,
    Priority,
    Type,
    Summary,
    Text,
    Parent,
    Assignee,
    Reporter,
    Created,
    Updated,
    Resolution,
    Rank,
}

impl Query {
    /// Reads it. An error is what Jira says of it.
    pub fn read(text: &str, site: &Site) -> Result<Query, String> {
        let tokens = tokens::read(text, site)?;
        let mut reader = Reader {
            tokens: tokens.into_iter().peekable(),
            site,
        };
        reader.query()
    }

    /// There is something in it that leaves tickets out.
    pub fn is_bounded(&self) -> bool {
        self.clause.is_some()
    }

    pub fn orders(&self) -> usize {
        self.order.len()
    }

    /// Looks up what it names. An error is what Jira says of a value that is
    /// not there; an unknown label is not an error.
    pub fn check(&self, site: &Site) -> Result<(), Vec<String>> {
        let mut unknown = vec![];
        if let Some(clause) = &self.clause {
            clause.check(site, &mut unknown);
        }
        if !site.has_rank && self.order.iter().any(|(field, _)| *field == Field::Rank) {
            unknown.push(site.say(
                "Field 'Rank' does not exist or you do not have permission to view it.",
                "Das Feld „Rank“ ist nicht vorhanden oder Sie sind nicht berechtigt, es anzuzeigen.",
            ));
        }
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(unknown)
        }
    }

    pub fn matches(&self, ticket: &Ticket, site: &Site) -> bool {
        self.clause
            .as_ref()
            .is_none_or(|c| c.holds(ticket, site, false))
    }

    /// How two tickets stand to each other in the answer.
    pub fn compare(&self, a: &Ticket, b: &Ticket, site: &Site) -> Ordering {
        for (field, descending) in &self.order {
            let order = field.compare(a, b, site);
            let order = if *descending { order.reverse() } else { order };
            if order != Ordering::Equal {
                return order;
            }
        }
        b.id.cmp(&a.id)
    }
}

impl Clause {
    fn holds(&self, ticket: &Ticket, site: &Site, negated: bool) -> bool {
        match self {
            Clause::And(all) if negated => all.iter().any(|c| c.holds(ticket, site, true)),
            Clause::Or(any) if negated => any.iter().all(|c| c.holds(ticket, site, true)),
            Clause::And(all) => all.iter().all(|c| c.holds(ticket, site, false)),
            Clause::Or(any) => any.iter().any(|c| c.holds(ticket, site, false)),
            Clause::Not(inner) => inner.holds(ticket, site, !negated),
            Clause::Term { field, is, values } => {
                let is = if negated { is.negated() } else { *is };
                field.holds(is, values, ticket, site)
            }
        }
    }

    fn check(&self, site: &Site, unknown: &mut Vec<String>) {
        match self {
            Clause::And(all) | Clause::Or(all) => {
                for clause in all {
                    clause.check(site, unknown);
                }
            }
            Clause::Not(inner) => inner.check(site, unknown),
            Clause::Term { field, values, .. } => {
                for value in values {
                    field.check(value, site, unknown);
                }
            }
        }
    }
}

impl Is {
    fn negated(self) -> Is {
        match self {
            Is::In => Is::NotIn,
            Is::NotIn => Is::In,
            Is::Like => Is::Unlike,
            Is::Unlike => Is::Like,
            Is::Empty => Is::Filled,
            Is::Filled => Is::Empty,
            Is::Less => Is::MoreOrSame,
            Is::LessOrSame => Is::More,
            Is::More => Is::LessOrSame,
            Is::MoreOrSame => Is::Less,
        }
    }
}

impl Field {
    fn named(name: &str) -> Option<Field> {
        Some(match name.to_lowercase().as_str() {
            "key" | "issue" | "issuekey" => Field::Key,
            "id" => Field::Id,
            "project" => Field::Project,
            "status" => Field::Status,
            "statuscategory" => Field::Category,
            "labels" => Field::Labels,
            "priority" => Field::Priority,
            "issuetype" | "type" => Field::Type,
            "summary" => Field::Summary,
            "text" | "description" => Field::Text,
            "parent" => Field::Parent,
            "assignee" => Field::Assignee,
            "reporter" | "creator" => Field::Reporter,
            "created" | "createddate" => Field::Created,
            "updated" | "updateddate" => Field::Updated,
            "resolution" => Field::Resolution,
            "rank" => Field::Rank,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Field::Key => "key",
            Field::Id => "id",
            Field::Project => "project",
            Field::Status => "status",
            Field::Category => "statusCategory",
            Field::Labels => "labels",
            Field::Priority => "priority",
            Field::Type => "issuetype",
            Field::Summary => "summary",
            Field::Text => "text",
            Field::Parent => "parent",
            Field::Assignee => "assignee",
            Field::Reporter => "reporter",
            Field::Created => "created",
            Field::Updated => "updated",
            Field::Resolution => "resolution",
            Field::Rank => "Rank",
        }
    }

    fn allows(self, is: Is) -> bool {
        match is {
            Is::Like | Is::Unlike => matches!(self, Field::Summary | Field::Text),
            Is::Less | Is::LessOrSame | Is::More | Is::MoreOrSame => {
                matches!(
                    self,
                    Field::Created | Field::Updated | Field::Priority | Field::Key
                )
            }
            Is::In | Is::NotIn => !matches!(self, Field::Summary | Field::Text | Field::Rank),
            Is::Empty | Is::Filled => self != Field::Rank,
        }
    }

    /// Every form in which the value of a ticket may be asked for, in lower
    /// case.
    fn values(self, ticket: &Ticket, site: &Site) -> Vec<String> {
        let mut values = match self {
            // A moved ticket is found by its former keys, too.
            Field::Key | Field::Id => {
                let mut all = ticket.former_keys.clone();
                all.extend([ticket.key.clone(), ticket.id.to_string()]);
                all
            }
            Field::Project => vec![ticket.project().to_owned()],
            Field::Status => {
                let status = site.status(&ticket.status);
                vec![status.name.clone(), status.id.clone()]
            }
            Field::Category => site.status(&ticket.status).category.words(site),
            Field::Labels => ticket.labels.clone(),
            Field::Priority => ticket.priority.iter().cloned().collect(),
            Field::Type => vec![ticket.kind.clone()],
            Field::Summary => vec![ticket.summary.clone()],
            Field::Text => vec![
                ticket.summary.clone(),
                ticket.description.clone().unwrap_or_default(),
            ],
            Field::Parent => ticket.parent.iter().cloned().collect(),
            Field::Assignee => vec![],
            Field::Reporter => vec!["Ria Reporter".to_owned()],
            Field::Created => vec![ticket.created.to_string()],
            Field::Updated => vec![ticket.updated.to_string()],
            Field::Resolution => ticket.resolution.iter().cloned().collect(),
            Field::Rank => vec![],
        };
        for value in &mut values {
            *value = value.to_lowercase();
        }
        values
    }

    fn holds(self, is: Is, values: &[String], ticket: &Ticket, site: &Site) -> bool {
        let has = self.values(ticket, site);
        let one_of = |v: &String| has.contains(&v.to_lowercase());
        let like = |v: &String| has.iter().any(|h| h.contains(&v.to_lowercase()));
        match is {
            Is::Empty => has.is_empty(),
            Is::Filled => !has.is_empty(),
            Is::In => values.iter().any(one_of),
            Is::NotIn => !has.is_empty() && !values.iter().any(one_of),
            Is::Like => values.iter().any(like),
            Is::Unlike => !has.is_empty() && !values.iter().any(like),
            Is::Less => self.order(&values[0], ticket, site) == Some(Ordering::Less),
            Is::More => self.order(&values[0], ticket, site) == Some(Ordering::Greater),
            Is::LessOrSame => self
                .order(&values[0], ticket, site)
                .is_some_and(Ordering::is_le),
            Is::MoreOrSame => self
                .order(&values[0], ticket, site)
                .is_some_and(Ordering::is_ge),
        }
    }

    /// How a ticket stands to a value.
    fn order(self, value: &str, ticket: &Ticket, site: &Site) -> Option<Ordering> {
        match self {
            Field::Priority => {
                let of = |name: &str| site.priority_rank(name);
                Some(of(ticket.priority.as_deref()?)?.cmp(&of(value)?))
            }
            Field::Key => {
                let (project, number) = value.rsplit_once('-')?;
                let (own, of) = ticket.key.rsplit_once('-')?;
                let same = own.eq_ignore_ascii_case(project);
                let order = of.parse::<u64>().ok()?.cmp(&number.parse().ok()?);
                same.then_some(order)
            }
            _ => {
                let then = if self == Field::Updated {
                    ticket.updated
                } else {
                    ticket.created
                };
                Some(then.cmp(&stamp::read(value)?))
            }
        }
    }

    fn check(self, value: &str, site: &Site, unknown: &mut Vec<String>) {
        let there = match self {
            Field::Key => site.find(value).is_some(),
            Field::Id => site.find(value).is_some(),
            Field::Project => site.has_project(value),
            Field::Status => site.has_status(value),
            Field::Category => site.has_category(value),
            Field::Priority => site.priority_rank(value).is_some(),
            _ => true,
        };
        let name = self.name();
        if !there && self == Field::Key {
            unknown.push(site.say(
                &format!("An issue with key '{value}' does not exist for field '{name}'."),
                &format!(
                    "Ein Vorgang mit dem Schlüssel „{value}“ existiert für das Feld „{name}“ nicht."
                ),
            ));
        } else if !there {
            unknown.push(site.say(
                &format!("The value '{value}' does not exist for the field '{name}'."),
                &format!("Der Wert „{value}“ existiert für das Feld „{name}“ nicht."),
            ));
        }
    }

    fn compare(self, a: &Ticket, b: &Ticket, site: &Site) -> Ordering {
        let number = |key: &str| {
            key.rsplit_once('-')
                .and_then(|(_, n)| n.parse::<u64>().ok())
        };
        let rank = |t: &Ticket| t.priority.as_deref().and_then(|p| site.priority_rank(p));
        match self {
            Field::Priority => rank(a).cmp(&rank(b)),
            Field::Key => (a.project(), number(&a.key)).cmp(&(b.project(), number(&b.key))),
            Field::Created => a.created.cmp(&b.created),
            Field::Updated => a.updated.cmp(&b.updated),
            Field::Id | Field::Rank => a.id.cmp(&b.id),
            _ => self.values(a, site).cmp(&self.values(b, site)),
        }
    }
}

struct Reader<'s> {
    tokens: Peekable<IntoIter<Token>>,
    site: &'s Site,
}

impl Reader<'_> {
    fn query(&mut self) -> Result<Query, String> {
        let empty = self.tokens.peek().is_none() || self.next_is("order");
        let clause = if empty { None } else { Some(self.any()?) };
        let mut order = vec![];
        if self.word("order") {
            if !self.word("by") {
                return Err(self.unexpected("by"));
            }
            loop {
                let field = self.field()?;
                let descending = self.word("desc");
                if !descending {
                    self.word("asc");
                }
                order.push((field, descending));
                if !self.sign(",") {
                    break;
                }
            }
        }
        if self.tokens.peek().is_some() {
            return Err(self.unexpected("ORDER BY"));
        }
        Ok(Query { clause, order })
    }

    fn any(&mut self) -> Result<Clause, String> {
        let mut all = vec![self.all()?];
        while self.word("or") {
            all.push(self.all()?);
        }
        Ok(if all.len() == 1 {
            all.remove(0)
        } else {
            Clause::Or(all)
        })
    }

    fn all(&mut self) -> Result<Clause, String> {
        let mut all = vec![self.one()?];
        while self.word("and") {
            all.push(self.one()?);
        }
        Ok(if all.len() == 1 {
            all.remove(0)
        } else {
            Clause::And(all)
        })
    }

    fn one(&mut self) -> Result<Clause, String> {
        if self.word("not") {
            return Ok(Clause::Not(Box::new(self.one()?)));
        }
        if self.sign("(") {
            let inner = self.any()?;
            return if self.sign(")") {
                Ok(inner)
            } else {
                Err(self.unexpected(")"))
            };
        }
        let field = self.field()?;
        let (is, values) = if self.word("is") {
            let is = if self.word("not") {
                Is::Filled
            } else {
                Is::Empty
            };
            if !self.word("empty") && !self.word("null") {
                return Err(self.unexpected("EMPTY"));
            }
            (is, vec![])
        } else if self.word("in") {
            (Is::In, self.list()?)
        } else if self.word("not") {
            if !self.word("in") {
                return Err(self.unexpected("in"));
            }
            (Is::NotIn, self.list()?)
        } else {
            let is = match self.tokens.peek() {
                Some(Token::Sign("=")) => Is::In,
                Some(Token::Sign("!=")) => Is::NotIn,
                Some(Token::Sign("~")) => Is::Like,
                Some(Token::Sign("!~")) => Is::Unlike,
                Some(Token::Sign("<")) => Is::Less,
                Some(Token::Sign("<=")) => Is::LessOrSame,
                Some(Token::Sign(">")) => Is::More,
                Some(Token::Sign(">=")) => Is::MoreOrSame,
                _ => return Err(self.unexpected("'=', '!=', '<', '>', 'in', 'is'")),
            };
            self.tokens.next();
            if matches!(is, Is::In | Is::NotIn) && (self.word("empty") || self.word("null")) {
                (if is == Is::In { Is::Empty } else { Is::Filled }, vec![])
            } else {
                (is, vec![self.value()?])
            }
        };
        if !field.allows(is) {
            let name = field.name();
            return Err(self.site.say(
                &format!("The operator is not supported by the '{name}' field."),
                &format!("Der Operator wird vom Feld „{name}“ nicht unterstützt."),
            ));
        }
        Ok(Clause::Term { field, is, values })
    }

    fn list(&mut self) -> Result<Vec<String>, String> {
        if !self.sign("(") {
            return Err(self.unexpected("("));
        }
        let mut values = vec![self.value()?];
        while self.sign(",") {
            values.push(self.value()?);
        }
        if self.sign(")") {
            Ok(values)
        } else {
            Err(self.unexpected("',' or ')'"))
        }
    }

    fn value(&mut self) -> Result<String, String> {
        match self.tokens.next() {
            Some(Token::Quoted(value)) => Ok(value),
            Some(Token::Word(word)) => {
                let word = self.unreserved(word)?;
                // A function without arguments: `currentUser()`.
                let call = self.tokens.next_if_eq(&Token::Sign("(")).is_some();
                if call && !self.sign(")") {
                    return Err(self.unexpected(")"));
                }
                Ok(word)
            }
            Some(Token::Sign(_)) | None => Err(self.unexpected("a value")),
        }
    }

    fn field(&mut self) -> Result<Field, String> {
        let name = self.value()?;
        Field::named(&name).ok_or_else(|| {
            self.site.say(
                &format!("Field '{name}' does not exist or you do not have permission to view it."),
                &format!("Das Feld „{name}“ ist nicht vorhanden oder Sie sind nicht berechtigt, es anzuzeigen."),
            )
        })
    }

    fn unreserved(&self, word: String) -> Result<String, String> {
        if !tokens::is_reserved(&word) {
            return Ok(word);
        }
        Err(self.site.say(
            &format!("Error in the JQL Query: '{word}' is a reserved JQL word. You must surround it in quotation marks to use it in a query. (line 1, character 1)"),
            &format!("Fehler in der JQL-Abfrage: „{word}“ ist ein reserviertes JQL-Wort. Es muss in Anführungszeichen stehen. (Zeile 1, Zeichen 1)"),
        ))
    }

    fn unexpected(&mut self, wanted: &str) -> String {
        let found = match self.tokens.peek() {
            Some(Token::Word(text) | Token::Quoted(text)) => text.clone(),
            Some(Token::Sign(sign)) => (*sign).to_owned(),
            None => "".to_owned(),
        };
        self.site.say(
            &format!("Error in the JQL Query: Expecting {wanted} but got '{found}'. (line 1, character 1)"),
            &format!("Fehler in der JQL-Abfrage: {wanted} erwartet, aber „{found}“ gefunden. (Zeile 1, Zeichen 1)"),
        )
    }

    fn next_is(&mut self, word: &str) -> bool {
        matches!(self.tokens.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let there = self.next_is(word);
        if there {
            self.tokens.next();
        }
        there
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.tokens
            .next_if(|t| matches!(t, Token::Sign(s) if *s == sign))
            .is_some()
    }
}
