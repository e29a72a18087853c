//! Tests that go through a policy file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod capture;
mod errors;
mod exec;
mod files;
mod meaning;
mod properties;

use std::path::Path;

use super::model::Policy;
use super::source;

/// A policy file around the lines of `egress`, which begin at line 8.
fn policy_with_egress(egress: &str) -> String {
    format!(
        "apiVersion: hoop.dev/v1alpha1\n\
         kind: WorkloadPolicy\n\
         metadata: {{ name: copilot }}\n\
         spec:\n  \
           identity: spiffe://example.org/agents/copilot\n  \
           mode: enforce\n  \
           egress:\n{egress}"
    )
}

/// The one policy of a text that has no problems.
fn parse(text: &str) -> Policy {
    let (mut documents, problems) = source::read(Path::new("policy.yaml"), text);
    assert_eq!(problems.sorted().to_string(), "");
    assert_eq!(documents.len(), 1);
    documents.remove(0).policy.unwrap()
}

/// Every problem of a text, as it is printed.
fn problems(text: &str) -> String {
    source::read(Path::new("policy.yaml"), text)
        .1
        .sorted()
        .to_string()
}
