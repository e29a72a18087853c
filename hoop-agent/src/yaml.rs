//! YAML text to a tree in which every node knows its place.
//!
//! A tree of our own, because reporting every problem of a file needs the place of every key and
//! value, and deserialisers stop at the first. Memory is bounded by the input: there are no
//! aliases, nesting has a limit, and so has the number of nodes.

use std::borrow::Cow;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use crate::diagnostic::Position;

/// Nodes in one file at most: twice as many as a policy at the limit of cells has CIDRs.
const MAX_NODES: usize = 1 << 22;

/// A node of the tree.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) position: Position,
    pub(crate) value: Value<'a>,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Scalar {
        text: Cow<'a, str>,
        /// Written without quotes, so that `true` and `null` are not text.
        plain: bool,
    },
    Sequence(Vec<Node<'a>>),
    /// Keys and values in turn.
    Mapping(Vec<Node<'a>>),
}

/// What the text breaks.
#[derive(Debug)]
pub(crate) struct Malformed {
    pub(crate) position: Position,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

impl Node<'_> {
    /// Whether there is nothing here: an empty value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain } => {
                *plain && matches!(&**text, "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// What the node is, as a message says it.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// Reads every document of `text` that has content, and every problem.
///
/// A malformed document is left out; the ones after it are still read.
pub(crate) fn documents(text: &str) -> (Vec<Node<'_>>, Vec<Malformed>) {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: 32,
        block_nesting_limit: 32,
    };
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    let mut nodes = 0;
    loop {
        match document(&mut parser, &mut nodes) {
            Ok(Some(node)) if node.is_null() => {}
            Ok(Some(node)) => documents.push(node),
            Ok(None) => break,
            Err(problem) => {
                problems.push(problem);
                if nodes > MAX_NODES || !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    (documents, problems)
}

/// Reads the next document. `None` at the end of the stream.
fn document<'a>(
    parser: &mut Parser<'a, granit_parser::StrInput<'a>>,
    nodes: &mut usize,
) -> Result<Option<Node<'a>>, Malformed> {
    // The collections that are open, outermost first.
    let mut open: Vec<Node<'a>> = Vec::new();
    let mut root = None;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Malformed {
            position: place(error.marker()),
            message: format!("not valid YAML: {}", error.info()),
            help: "check indentation, quotes and brackets here and on the line before",
        })?;
        let position = place(&span.start);
        let refuse = |message: &str, help| Malformed {
            position,
            message: message.to_owned(),
            help,
        };
        let closed = match event {
            Event::StreamStart | Event::DocumentStart(..) => continue,
            Event::StreamEnd => return Ok(None),
            Event::DocumentEnd => return Ok(root),
            Event::Scalar(text, style, _, None) => Node {
                position,
                value: Value::Scalar {
                    text,
                    plain: style == ScalarStyle::Plain,
                },
            },
            Event::SequenceStart(_, _, None) => {
                open.push(Node {
                    position,
                    value: Value::Sequence(Vec::new()),
                });
                continue;
            }
            Event::MappingStart(_, _, None) => {
                open.push(Node {
                    position,
                    value: Value::Mapping(Vec::new()),
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(node) => node,
                None => {
                    return Err(refuse(
                        "not valid YAML",
                        "report this file as a bug in Hoop",
                    ));
                }
            },
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(Malformed {
                    position: span.tag_start().map_or(position, |tag| place(&tag)),
                    ..refuse("YAML tags are not supported", "remove the tag (`!...`)")
                });
            }
            // Aliases can make a small file stand for an enormous tree.
            _ => {
                return Err(refuse(
                    "YAML aliases are not supported",
                    "write out what the alias stands for",
                ));
            }
        };
        *nodes += 1;
        if *nodes > MAX_NODES {
            return Err(refuse(
                &format!("more than {MAX_NODES} values in one file"),
                "split the file, or merge neighbouring CIDRs",
            ));
        }
        match open.last_mut() {
            Some(Node {
                value: Value::Sequence(items) | Value::Mapping(items),
                ..
            }) => {
                items.push(closed);
            }
            _ => root = Some(closed),
        }
    }
    Ok(None)
}

fn place(marker: &Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: number(marker.line()),
        column: number(marker.col() + 1),
    }
}
