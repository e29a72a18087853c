//! The prefixes by which vendors let their tokens be told.

use super::{Normal, Spec};
use crate::bytes::{ALNUM, HEX, JOINER, TOKEN};

/// A token with a prefix.
pub(crate) struct Vendor {
    pub(crate) spec: Spec,
    pub(crate) prefix: &'static [u8],
    /// The classes of the bytes after the prefix.
    pub(super) chars: u8,
    /// The fewest bytes after the prefix.
    pub(super) min: usize,
}

macro_rules! vendors {
    ($($class:literal $rule:literal $prefix:literal $chars:expr, $min:literal;)*) => {
        /// Their ids follow those of the personal numbers. Prefixes and lengths are those of the
        /// vendors' own pages and of GitHub's list of supported secret scanning patterns.
        pub(crate) const VENDORS: &[Vendor] = &[$(Vendor {
            spec: Spec { class: $class, rule: $rule, rank: 2, normal: Normal::Exact },
            prefix: $prefix.as_bytes(),
            chars: $chars,
            min: $min,
        }),*];
    };
}

vendors! {
    "AWS_ACCESS_KEY_ID" "aws-access-key-id" "AKIA" ALNUM, 16;
    "AWS_ACCESS_KEY_ID" "aws-temporary-key-id" "ASIA" ALNUM, 16;
    "AWS_ACCESS_KEY_ID" "aws-bearer-id" "ABIA" ALNUM, 16;
    "AWS_ACCESS_KEY_ID" "aws-context-id" "ACCA" ALNUM, 16;
    "GCP_API_KEY" "gcp-api-key" "AIza" TOKEN, 35;
    "GCP_OAUTH_SECRET" "gcp-oauth-secret" "GOCSPX-" TOKEN, 28;
    "GITHUB_TOKEN" "github-pat" "ghp_" ALNUM, 36;
    "GITHUB_TOKEN" "github-oauth" "gho_" ALNUM, 36;
    "GITHUB_TOKEN" "github-user" "ghu_" ALNUM, 36;
    "GITHUB_TOKEN" "github-server" "ghs_" ALNUM, 36;
    "GITHUB_TOKEN" "github-refresh" "ghr_" ALNUM, 36;
    "GITHUB_TOKEN" "github-fine-grained-pat" "github_pat_" ALNUM | JOINER, 40;
    "GITLAB_TOKEN" "gitlab-pat" "glpat-" TOKEN, 20;
    "GITLAB_TOKEN" "gitlab-deploy" "gldt-" TOKEN, 20;
    "GITLAB_TOKEN" "gitlab-runner" "glrt-" TOKEN, 20;
    "GITLAB_TOKEN" "gitlab-trigger" "glptt-" TOKEN, 20;
    "GITLAB_TOKEN" "gitlab-ci-job" "glcbt-" TOKEN, 20;
    "GITLAB_TOKEN" "gitlab-agent" "glagent-" TOKEN, 20;
    "SLACK_TOKEN" "slack-bot" "xoxb-" TOKEN, 20;
    "SLACK_TOKEN" "slack-user" "xoxp-" TOKEN, 20;
    "SLACK_TOKEN" "slack-workspace" "xoxa-" TOKEN, 20;
    "SLACK_TOKEN" "slack-refresh" "xoxr-" TOKEN, 20;
    "SLACK_TOKEN" "slack-session" "xoxs-" TOKEN, 20;
    "SLACK_TOKEN" "slack-config" "xoxe-" TOKEN, 20;
    "SLACK_TOKEN" "slack-app" "xapp-" TOKEN, 20;
    "STRIPE_KEY" "stripe-secret" "sk_live_" ALNUM, 16;
    "STRIPE_KEY" "stripe-test-secret" "sk_test_" ALNUM, 16;
    "STRIPE_KEY" "stripe-restricted" "rk_live_" ALNUM, 16;
    "STRIPE_KEY" "stripe-test-restricted" "rk_test_" ALNUM, 16;
    "STRIPE_KEY" "stripe-webhook" "whsec_" ALNUM, 24;
    "ANTHROPIC_API_KEY" "anthropic" "sk-ant-" TOKEN, 24;
    "OPENAI_API_KEY" "openai-project" "sk-proj-" TOKEN, 24;
    "OPENAI_API_KEY" "openai-service" "sk-svcacct-" TOKEN, 24;
    "OPENAI_API_KEY" "openai-admin" "sk-admin-" TOKEN, 24;
    "OPENROUTER_API_KEY" "openrouter" "sk-or-" TOKEN, 32;
    "OPENAI_API_KEY" "openai" "sk-" TOKEN, 32;
    "GROQ_API_KEY" "groq" "gsk_" ALNUM, 32;
    "XAI_API_KEY" "xai" "xai-" TOKEN, 40;
    "PERPLEXITY_API_KEY" "perplexity" "pplx-" ALNUM, 32;
    "REPLICATE_TOKEN" "replicate" "r8_" ALNUM, 32;
    "HUGGINGFACE_TOKEN" "huggingface" "hf_" ALNUM, 30;
    "HUGGINGFACE_TOKEN" "huggingface-org" "api_org_" ALNUM, 30;
    "NPM_TOKEN" "npm" "npm_" ALNUM, 36;
    "PYPI_TOKEN" "pypi" "pypi-" TOKEN, 50;
    "RUBYGEMS_TOKEN" "rubygems" "rubygems_" HEX, 48;
    "DOCKER_TOKEN" "docker-pat" "dckr_pat_" TOKEN, 24;
    "DOCKER_TOKEN" "docker-oat" "dckr_oat_" TOKEN, 24;
    "TWILIO_KEY" "twilio-api-key" "SK" HEX, 32;
    "TWILIO_SID" "twilio-account" "AC" HEX, 32;
    "MAILGUN_KEY" "mailgun" "key-" HEX, 32;
    "SENDINBLUE_KEY" "brevo" "xkeysib-" TOKEN, 64;
    "DIGITALOCEAN_TOKEN" "digitalocean-pat" "dop_v1_" HEX, 64;
    "DIGITALOCEAN_TOKEN" "digitalocean-oauth" "doo_v1_" HEX, 64;
    "DIGITALOCEAN_TOKEN" "digitalocean-refresh" "dor_v1_" HEX, 64;
    "SHOPIFY_TOKEN" "shopify-access" "shpat_" HEX, 32;
    "SHOPIFY_TOKEN" "shopify-custom" "shpca_" HEX, 32;
    "SHOPIFY_TOKEN" "shopify-private" "shppa_" HEX, 32;
    "SHOPIFY_TOKEN" "shopify-secret" "shpss_" HEX, 32;
    "DATABRICKS_TOKEN" "databricks" "dapi" HEX | JOINER, 32;
    "SQUARE_TOKEN" "square-access" "sq0atp-" TOKEN, 22;
    "SQUARE_TOKEN" "square-secret" "sq0csp-" TOKEN, 43;
    "SQUARE_TOKEN" "square-production" "EAAA" TOKEN, 60;
    "FACEBOOK_TOKEN" "facebook" "EAA" ALNUM, 80;
    "NEW_RELIC_KEY" "new-relic" "NRAK-" ALNUM, 27;
    "GRAFANA_TOKEN" "grafana-service" "glsa_" TOKEN, 32;
    "GRAFANA_TOKEN" "grafana-cloud" "glc_" ALNUM, 32;
    "LINEAR_TOKEN" "linear" "lin_api_" ALNUM, 40;
    "NOTION_TOKEN" "notion" "ntn_" ALNUM, 40;
    "NOTION_TOKEN" "notion-legacy" "secret_" ALNUM, 43;
    "POSTMAN_KEY" "postman" "PMAK-" HEX | JOINER, 50;
    "PLANETSCALE_TOKEN" "planetscale" "pscale_" TOKEN, 32;
    "SUPABASE_TOKEN" "supabase" "sbp_" HEX, 40;
    "PULUMI_TOKEN" "pulumi" "pul-" HEX, 40;
    "SENTRY_TOKEN" "sentry-user" "sntryu_" HEX, 64;
    "SENTRY_TOKEN" "sentry-org" "sntrys_" TOKEN, 40;
    "ATLASSIAN_TOKEN" "atlassian" "ATATT3" TOKEN, 60;
    "AGE_SECRET_KEY" "age" "AGE-SECRET-KEY-1" ALNUM, 58;
    "ALIBABA_KEY" "alibaba" "LTAI" ALNUM, 16;
    "TENCENT_KEY" "tencent" "AKID" ALNUM, 32;
    "FIGMA_TOKEN" "figma" "figd_" TOKEN, 40;
    "BUILDKITE_TOKEN" "buildkite" "bkua_" HEX, 40;
    "LAUNCHDARKLY_KEY" "launchdarkly" "sdk-" HEX | JOINER, 36;
    "FLY_TOKEN" "fly" "fo1_" TOKEN, 40;
    "ARTIFACTORY_KEY" "artifactory" "AKCp" ALNUM, 60;
    "TAILSCALE_KEY" "tailscale" "tskey-" TOKEN, 20;
    // Their prefix stands before a dot or a colon, so it is no prefix of the run.
    "SENDGRID_KEY" "sendgrid" "SG." TOKEN, 60;
    "VAULT_TOKEN" "vault-service" "hvs." TOKEN, 24;
    "VAULT_TOKEN" "vault-batch" "hvb." TOKEN, 24;
    "GCP_OAUTH_TOKEN" "gcp-oauth-token" "ya29." TOKEN, 30;
    "DOPPLER_TOKEN" "doppler" "dp.pt." ALNUM, 40;
    "DYNATRACE_TOKEN" "dynatrace" "dt0c01." TOKEN, 80;
    "SLACK_WEBHOOK" "slack-webhook" "hooks.slack.com/services/" TOKEN, 30;
    "DISCORD_WEBHOOK" "discord-webhook" "discord.com/api/webhooks/" TOKEN, 60;
    "TELEGRAM_TOKEN" "telegram" ":AA" TOKEN, 32;
    "DISCORD_TOKEN" "discord" "." TOKEN, 27;
    "AZURE_CLIENT_SECRET" "azure-client-secret" "Q~" TOKEN, 31;
}

/// The first of those whose prefix does not start the run.
pub(super) const JOINED: usize = {
    let mut i = 0;
    while VENDORS[i].prefix[VENDORS[i].prefix.len() - 1] != b'.' {
        i += 1;
    }
    i
};

/// Where a vendor's rule stands in [`VENDORS`].
pub(super) fn position(rule: &str) -> usize {
    VENDORS
        .iter()
        .position(|vendor| vendor.spec.rule == rule)
        .unwrap_or(usize::MAX)
}
