use std::sync::Arc;

use hoop_ocsf::Node;

use super::{Config, Framing};
use crate::http::Poster;
use crate::render;
use crate::runner::{Failure, Sink};
use crate::source::Entry;
use crate::tls::TlsError;

/// The sink. Connects with the first record.
pub(crate) fn sink(config: &Config, node: &Arc<Node>) -> Result<impl Sink + use<>, TlsError> {
    Ok(Webhook {
        poster: Poster::new(&config.endpoint)?,
        config: config.clone(),
        node: Arc::clone(node),
    })
}

struct Webhook {
    config: Config,
    node: Arc<Node>,
    poster: Poster,
}

impl Sink for Webhook {
    async fn deliver(&mut self, records: &[Entry]) -> Result<(), Failure> {
        let (records, rest) = render::decode(records);
        if records.is_empty() {
            return rest;
        }
        let (content_type, before, between, after) = match self.config.body {
            Framing::Lines => ("application/x-ndjson", "", "\n", "\n"),
            Framing::Array => ("application/json", "[", ",", "]"),
        };
        let mut body = before.as_bytes().to_vec();
        for (at, record) in records.iter().enumerate() {
            if at > 0 {
                body.extend_from_slice(between.as_bytes());
            }
            render::json(record, self.config.format, &self.node, &mut body);
        }
        body.extend_from_slice(after.as_bytes());
        self.poster.post(content_type, body, records.len()).await?;
        rest
    }
}
