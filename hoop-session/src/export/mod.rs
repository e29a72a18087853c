//! A session for other programs, and as a page for people.

mod html;
mod json;
mod otlp;

pub use html::html;
pub use json::{SCHEMA, json};
pub use otlp::otlp;
