//! What a call means, as masked attributes.

use std::sync::Arc;

use hoop_mask::Masker;
use hoop_protocols::{
    genai::{self, CUT},
    mcp,
};

use crate::pipeline::masking::{self, Findings};
use hoop_records::Attribute;

/// Of a call of a model.
pub(super) fn of_model(
    mut call: genai::Call,
    masker: &Arc<Masker>,
    findings: &mut Findings,
) -> Vec<Attribute> {
    call.texts_mut(|text, _| mask(text, masker, findings));
    call.attributes().map(attribute).collect()
}

/// Of a call of a tool.
pub(super) fn of_tool(
    mut call: mcp::Call,
    masker: &Arc<Masker>,
    findings: &mut Findings,
) -> Vec<Attribute> {
    call.texts_mut(|text, _| mask(text, masker, findings));
    call.attributes().map(attribute).collect()
}

/// Masks a text. Of what is cut somewhere, what may be the first half of a secret is left out.
fn mask(text: &mut String, masker: &Arc<Masker>, findings: &mut Findings) {
    let mut parts = text.split(CUT);
    let last = parts.next_back().unwrap_or_default();
    let mut masked = String::new();
    for part in parts {
        masked += &masking::body(masker, part.as_bytes(), false, findings);
    }
    masked += &masking::text(masker, last.as_bytes(), findings);
    *text = masked;
}

fn attribute((key, value): (&'static str, serde_json::Value)) -> Attribute {
    Attribute {
        key: key.to_owned(),
        // Writing into memory does not fail.
        value: serde_json::to_string(&value).unwrap_or_default(),
    }
}
