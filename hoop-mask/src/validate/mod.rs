//! Whether bytes can be what they look like: check digits, lengths, grammars. Pure functions that
//! allocate nothing and take time linear in the input.
//!
//! Numbers are read with the spaces, hyphens, dots and slashes that people set between groups, and
//! letters in either case. A check says what a scheme's own rules say, no more: where one is weak
//! (no check digit, or one that every tenth number has), its comment says so, and the caller should
//! ask for context.

pub(crate) mod americas;
pub(crate) mod asia_pacific;
pub(crate) mod card;
mod checksum;
pub(crate) mod date;
pub(crate) mod entropy;
pub(crate) mod europe;
pub(crate) mod iban;
pub(crate) mod mod97;
pub(crate) mod net;
pub(crate) mod nordic;
pub(crate) mod phone;
#[cfg(test)]
mod testing;
mod text;
pub(crate) mod token;
pub(crate) mod us;

/// A check of one format: whether the bytes, with nothing around them, are it.
pub type Check = fn(&[u8]) -> bool;

/// Every check by the name that a policy gives it.
pub const ALL: &[(&str, Check)] = &[
    ("luhn", card::is_luhn),
    ("card", card::is_card),
    ("iban", iban::is_iban),
    ("us-ssn", us::is_ssn),
    ("us-itin", us::is_itin),
    ("aba-routing", us::is_aba_routing),
    ("ca-sin", americas::is_ca_sin),
    ("br-cpf", americas::is_br_cpf),
    ("br-cnpj", americas::is_br_cnpj),
    ("uk-nhs", europe::is_uk_nhs),
    ("de-steuer-id", europe::is_de_steuer_id),
    ("fr-nir", mod97::is_fr_nir),
    ("es-dni", europe::is_es_dni),
    ("it-codice-fiscale", mod97::is_it_codice_fiscale),
    ("nl-bsn", europe::is_nl_bsn),
    ("be-national-number", mod97::is_be_national_number),
    ("pl-pesel", europe::is_pl_pesel),
    ("pt-nif", europe::is_pt_nif),
    ("ch-ahv", europe::is_ch_ahv),
    ("tr-tckn", europe::is_tr_tckn),
    ("se-personnummer", nordic::is_se_personnummer),
    ("fi-hetu", nordic::is_fi_hetu),
    ("no-fodselsnummer", nordic::is_no_fodselsnummer),
    ("dk-cpr", nordic::is_dk_cpr),
    ("in-aadhaar", asia_pacific::is_in_aadhaar),
    ("cn-resident-id", asia_pacific::is_cn_resident_id),
    ("kr-rrn", asia_pacific::is_kr_rrn),
    ("sg-nric", asia_pacific::is_sg_nric),
    ("au-tfn", asia_pacific::is_au_tfn),
    ("au-medicare", asia_pacific::is_au_medicare),
    ("za-id", asia_pacific::is_za_id),
    ("phone", phone::is_phone),
    ("phone-international", phone::is_international),
    ("phone-north-american", phone::is_north_american),
    ("ipv4", net::is_ipv4),
    ("ipv6", net::is_ipv6),
    ("mac", net::is_mac),
    ("date", date::is_date),
    ("high-entropy", entropy::is_high_entropy),
    ("jwt", token::is_jwt),
    ("token-checksum", token::has_token_checksum),
    ("pypi-token", token::is_pypi_token),
];

#[cfg(test)]
mod tests {
    use super::ALL;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_given_once() {
        for (place, (name, _)) in ALL.iter().enumerate() {
            assert!(
                name.bytes()
                    .all(|byte| byte == b'-' || byte.is_ascii_digit() || byte.is_ascii_lowercase())
            );
            assert!(
                !ALL[..place].iter().any(|(other, _)| other == name),
                "{name}"
            );
        }
    }

    proptest! {
        /// Hostile bytes never panic.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for (_, check) in ALL {
                check(&bytes);
            }
        }

        #[test]
        fn any_number_like_text(text in "[0-9A-Za-z+. ()-]{0,40}") {
            for (_, check) in ALL {
                check(text.as_bytes());
            }
        }
    }
}
