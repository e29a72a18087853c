//! What a call means, as masked attributes.

use hoop_mask::Masker;
use hoop_protocols::{genai, mcp};

use crate::pipeline::masking::{self, Findings};
use hoop_records::Attribute;

/// Of a call of a model.
pub(super) fn of_model(
    mut call: genai::Call,
    masker: &Masker,
    findings: &mut Findings,
) -> Vec<Attribute> {
    call.texts_mut(|text, _| mask(text, masker, findings));
    call.attributes().map(attribute).collect()
}

/// Of a call of a tool.
pub(super) fn of_tool(
    mut call: mcp::Call,
    masker: &Masker,
    findings: &mut Findings,
) -> Vec<Attribute> {
    call.texts_mut(|text, _| mask(text, masker, findings));
    call.attributes().map(attribute).collect()
}

fn mask(text: &mut String, masker: &Masker, findings: &mut Findings) {
    *text = masking::text(masker, text.as_bytes(), findings);
}

fn attribute((key, value): (&'static str, serde_json::Value)) -> Attribute {
    Attribute {
        key: key.to_owned(),
        // Writing into memory does not fail.
        value: serde_json::to_string(&value).unwrap_or_default(),
    }
}
