//! What a call means, as masked attributes.

use std::{collections::BTreeSet, sync::Arc};

use hoop_mask::Masker;
use hoop_protocols::{
    genai::{self, Issue},
    mcp,
};

use crate::pipeline::masking::{self, Findings};
use hoop_records::Attribute;

/// How the names of fields begin that have what was answered.
const ANSWERS: [&str; 4] = [
    "gen_ai.output.",
    "gen_ai.tool.call.result",
    "error.message",
    "hoop.mcp.error.",
];

/// Of a call of a model.
pub(super) fn of_model(
    mut call: genai::Call,
    masker: &Arc<Masker>,
    findings: &mut Findings,
) -> Vec<Attribute> {
    let issues = call.issues.clone();
    call.texts_mut(|text, field| mask(text, !may_be_cut(field, &issues), masker, findings));
    call.attributes().map(attribute).collect()
}

/// Of a call of a tool.
pub(super) fn of_tool(
    mut call: mcp::Call,
    masker: &Arc<Masker>,
    findings: &mut Findings,
) -> Vec<Attribute> {
    let issues = call.issues.clone();
    call.texts_mut(|text, field| mask(text, !may_be_cut(field, &issues), masker, findings));
    call.attributes().map(attribute).collect()
}

/// Whether a field, and with it a secret, may be cut: by what the call is known to lack.
fn may_be_cut(field: &str, issues: &BTreeSet<Issue>) -> bool {
    let causes: &[Issue] = if ANSWERS.iter().any(|answer| field.starts_with(answer)) {
        &[
            Issue::Incomplete,
            Issue::ResponseTruncated,
            Issue::ResponseMalformed,
        ]
    } else {
        &[Issue::RequestTruncated, Issue::RequestMalformed]
    };
    causes.iter().any(|cause| issues.contains(cause))
}

fn mask(text: &mut String, whole: bool, masker: &Arc<Masker>, findings: &mut Findings) {
    *text = masking::body(masker, text.as_bytes(), whole, findings);
}

fn attribute((key, value): (&'static str, serde_json::Value)) -> Attribute {
    Attribute {
        key: key.to_owned(),
        // Writing into memory does not fail.
        value: serde_json::to_string(&value).unwrap_or_default(),
    }
}
