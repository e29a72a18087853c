//! Personal numbers with check digits: which there are, and what tells each.

use super::{Normal, Spec};
use crate::validate::{self, americas, asia_pacific, europe, mod97, nordic};

/// Declares the personal numbers: class, name, digits, check, and whether they stand by themselves.
macro_rules! national {
    ($($class:literal $rule:literal $digits:pat, $check:path, $sure:expr;)*) => {
        /// The personal numbers: ids follow those of [`CORE`].
        pub(crate) static NATIONAL: &[Spec] = &[$(Spec {
            class: $class, rule: $rule, rank: 5, normal: Normal::Compact,
        }),*];

        pub(super) static CHECKS: &[National] = &[$(National {
            digits: {
                let (mut mask, mut digits) = (0_u32, 0);
                while digits < 32 {
                    if matches!(digits, $digits) {
                        mask |= 1 << digits;
                    }
                    digits += 1;
                }
                mask
            },
            check: $check,
            sure: $sure,
        }),*];
    };
}

pub(super) struct National {
    /// A bit for each number of digits that it can have.
    digits: u32,
    check: validate::Check,
    /// Its form is proof enough; other numbers need a word that says what they are.
    pub(super) sure: fn(&[u8]) -> bool,
}

impl National {
    /// Whether a value of so many digits is one.
    #[inline]
    pub(super) fn passes(&self, digits: usize, value: &[u8]) -> bool {
        digits < 32 && self.digits & 1 << digits != 0 && (self.check)(value)
    }
}

national! {
    "BR_CPF" "br-cpf" 11, americas::is_br_cpf, |text| shaped(text, b"###.###.###-##");
    "BR_CNPJ" "br-cnpj" 14, americas::is_br_cnpj, |text| shaped(text, b"##.###.###/####-##");
    "FR_NIR" "fr-nir" 13..=15, mod97::is_fr_nir, |_| true;
    "IT_CODICE_FISCALE" "it-codice-fiscale" 5..=9, mod97::is_it_codice_fiscale, |_| true;
    "CN_RESIDENT_ID" "cn-resident-id" 17 | 18, asia_pacific::is_cn_resident_id, |_| true;
    "KR_RRN" "kr-rrn" 13, asia_pacific::is_kr_rrn, |text| shaped(text, b"######-#######");
    "CH_AHV" "ch-ahv" 13, europe::is_ch_ahv, |_| true;
    "ES_DNI" "es-dni" 7 | 8, europe::is_es_dni, |_| true;
    "FI_HETU" "fi-hetu" 9 | 10, nordic::is_fi_hetu, |_| true;
    "SG_NRIC" "sg-nric" 7, asia_pacific::is_sg_nric, |_| true;
    "BE_NATIONAL_NUMBER" "be-national-number" 11, mod97::is_be_national_number, |text| shaped(text, b"##.##.##-###.##");
    "SE_PERSONNUMMER" "se-personnummer" 10 | 12, nordic::is_se_personnummer, |text| shaped(text, b"######-####") || shaped(text, b"########-####");
    "IN_AADHAAR" "in-aadhaar" 12, asia_pacific::is_in_aadhaar, |text| shaped(text, b"#### #### ####");
    "DE_STEUER_ID" "de-steuer-id" 11, europe::is_de_steuer_id, |text| shaped(text, b"## ### ### ###");
    "UK_NHS" "uk-nhs" 10, europe::is_uk_nhs, |text| shaped(text, b"### ### ####");
    "NL_BSN" "nl-bsn" 8 | 9, europe::is_nl_bsn, |_| false;
    "PL_PESEL" "pl-pesel" 11, europe::is_pl_pesel, |_| false;
    "PT_NIF" "pt-nif" 9, europe::is_pt_nif, |_| false;
    "TR_TCKN" "tr-tckn" 11, europe::is_tr_tckn, |_| false;
    "NO_FODSELSNUMMER" "no-fodselsnummer" 11, nordic::is_no_fodselsnummer, |_| false;
    "DK_CPR" "dk-cpr" 10, nordic::is_dk_cpr, |text| shaped(text, b"######-####");
    "CA_SIN" "ca-sin" 9, americas::is_ca_sin, |text| shaped(text, b"###-###-###") || shaped(text, b"### ### ###");
    "AU_TFN" "au-tfn" 8 | 9, asia_pacific::is_au_tfn, |_| false;
    "AU_MEDICARE" "au-medicare" 10 | 11, asia_pacific::is_au_medicare, |_| false;
    "ZA_ID" "za-id" 13, asia_pacific::is_za_id, |_| false;
}

/// Whether `text` has the shape: `#` is a digit, anything else itself.
pub(super) fn shaped(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(&byte, &form)| match form {
            b'#' => byte.is_ascii_digit(),
            // In a form a space is a `+`.
            b' ' => matches!(byte, b' ' | b'+'),
            _ => byte == form,
        })
}
