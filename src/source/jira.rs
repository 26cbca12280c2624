//! Tickets of Jira: what people wrote there, as Markdown.
//!
//! Never talks to a Jira.

pub mod adf;
mod markdown;
pub mod wiki;
