//! Whether bytes can be what they look like: check digits, lengths, grammars. Pure functions that allocate nothing and
//! take time linear in the input.
//!
//! Numbers are read with the spaces, hyphens, dots and slashes that people set between groups, and letters in either
//! case. A check says what a scheme's own rules say, no more: where one is weak (no check digit, or one that every
//! tenth number has), its comment says so, and the caller should ask for context.

mod americas;
mod asia_pacific;
mod card;
mod checksum;
mod date;
mod entropy;
mod europe;
mod iban;
mod mod97;
mod net;
mod nordic;
mod phone;
#[cfg(test)]
mod testing;
mod text;
mod token;
mod us;

use std::fmt;
use std::str::FromStr;

/// A check that a rule may name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Validator {
    /// Two digits or more with a Luhn check digit.
    Luhn,
    /// A payment card number.
    Card,
    /// An international bank account number.
    Iban,
    /// A US social security number.
    UsSsn,
    /// A US individual taxpayer identification number.
    UsItin,
    /// A routing number of a US bank.
    AbaRouting,
    /// A Canadian social insurance number.
    CaSin,
    /// A Brazilian CPF.
    BrCpf,
    /// A Brazilian CNPJ.
    BrCnpj,
    /// A number of the UK National Health Service.
    UkNhs,
    /// A German tax identification number.
    DeSteuerId,
    /// A French social security number.
    FrNir,
    /// A Spanish DNI or NIE.
    EsDni,
    /// An Italian fiscal code.
    ItCodiceFiscale,
    /// A Dutch citizen service number.
    NlBsn,
    /// A Belgian national register number.
    BeNationalNumber,
    /// A Polish PESEL.
    PlPesel,
    /// A Portuguese tax number.
    PtNif,
    /// A Swiss social security number.
    ChAhv,
    /// A Turkish identity number.
    TrTckn,
    /// A Swedish personal number.
    SePersonnummer,
    /// A Finnish personal identity code.
    FiHetu,
    /// A Norwegian birth number.
    NoFodselsnummer,
    /// A Danish CPR number.
    DkCpr,
    /// An Indian Aadhaar number.
    InAadhaar,
    /// A Chinese resident identity number.
    CnResidentId,
    /// A South Korean resident registration number.
    KrRrn,
    /// A Singaporean NRIC or FIN.
    SgNric,
    /// An Australian tax file number.
    AuTfn,
    /// An Australian Medicare card number.
    AuMedicare,
    /// A South African identity number.
    ZaId,
    /// A telephone number, international or North American.
    Phone,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A MAC address.
    Mac,
    /// A calendar date.
    Date,
    /// A value that looks generated.
    HighEntropy,
    /// A JSON web token.
    Jwt,
    /// A GitHub or npm token with a right checksum.
    TokenChecksum,
    /// A PyPI API token.
    PypiToken,
}

impl Validator {
    /// Every validator.
    pub const ALL: &[Self] = &[
        Self::Luhn,
        Self::Card,
        Self::Iban,
        Self::UsSsn,
        Self::UsItin,
        Self::AbaRouting,
        Self::CaSin,
        Self::BrCpf,
        Self::BrCnpj,
        Self::UkNhs,
        Self::DeSteuerId,
        Self::FrNir,
        Self::EsDni,
        Self::ItCodiceFiscale,
        Self::NlBsn,
        Self::BeNationalNumber,
        Self::PlPesel,
        Self::PtNif,
        Self::ChAhv,
        Self::TrTckn,
        Self::SePersonnummer,
        Self::FiHetu,
        Self::NoFodselsnummer,
        Self::DkCpr,
        Self::InAadhaar,
        Self::CnResidentId,
        Self::KrRrn,
        Self::SgNric,
        Self::AuTfn,
        Self::AuMedicare,
        Self::ZaId,
        Self::Phone,
        Self::Ipv4,
        Self::Ipv6,
        Self::Mac,
        Self::Date,
        Self::HighEntropy,
        Self::Jwt,
        Self::TokenChecksum,
        Self::PypiToken,
    ];

    /// Whether `text`, without anything around it, is what the validator is named for.
    pub fn check(self, text: &[u8]) -> bool {
        let check = match self {
            Self::Luhn => card::is_luhn,
            Self::Card => card::is_card,
            Self::Iban => iban::is_iban,
            Self::UsSsn => us::is_ssn,
            Self::UsItin => us::is_itin,
            Self::AbaRouting => us::is_aba_routing,
            Self::CaSin => americas::is_ca_sin,
            Self::BrCpf => americas::is_br_cpf,
            Self::BrCnpj => americas::is_br_cnpj,
            Self::UkNhs => europe::is_uk_nhs,
            Self::DeSteuerId => europe::is_de_steuer_id,
            Self::FrNir => mod97::is_fr_nir,
            Self::EsDni => europe::is_es_dni,
            Self::ItCodiceFiscale => mod97::is_it_codice_fiscale,
            Self::NlBsn => europe::is_nl_bsn,
            Self::BeNationalNumber => mod97::is_be_national_number,
            Self::PlPesel => europe::is_pl_pesel,
            Self::PtNif => europe::is_pt_nif,
            Self::ChAhv => europe::is_ch_ahv,
            Self::TrTckn => europe::is_tr_tckn,
            Self::SePersonnummer => nordic::is_se_personnummer,
            Self::FiHetu => nordic::is_fi_hetu,
            Self::NoFodselsnummer => nordic::is_no_fodselsnummer,
            Self::DkCpr => nordic::is_dk_cpr,
            Self::InAadhaar => asia_pacific::is_in_aadhaar,
            Self::CnResidentId => asia_pacific::is_cn_resident_id,
            Self::KrRrn => asia_pacific::is_kr_rrn,
            Self::SgNric => asia_pacific::is_sg_nric,
            Self::AuTfn => asia_pacific::is_au_tfn,
            Self::AuMedicare => asia_pacific::is_au_medicare,
            Self::ZaId => asia_pacific::is_za_id,
            Self::Phone => phone::is_phone,
            Self::Ipv4 => net::is_ipv4,
            Self::Ipv6 => net::is_ipv6,
            Self::Mac => net::is_mac,
            Self::Date => date::is_date,
            Self::HighEntropy => entropy::is_high_entropy,
            Self::Jwt => token::is_jwt,
            Self::TokenChecksum => token::has_token_checksum,
            Self::PypiToken => token::is_pypi_token,
        };
        check(text)
    }

    /// The name in a policy file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Luhn => "luhn",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::UsSsn => "us-ssn",
            Self::UsItin => "us-itin",
            Self::AbaRouting => "aba-routing",
            Self::CaSin => "ca-sin",
            Self::BrCpf => "br-cpf",
            Self::BrCnpj => "br-cnpj",
            Self::UkNhs => "uk-nhs",
            Self::DeSteuerId => "de-steuer-id",
            Self::FrNir => "fr-nir",
            Self::EsDni => "es-dni",
            Self::ItCodiceFiscale => "it-codice-fiscale",
            Self::NlBsn => "nl-bsn",
            Self::BeNationalNumber => "be-national-number",
            Self::PlPesel => "pl-pesel",
            Self::PtNif => "pt-nif",
            Self::ChAhv => "ch-ahv",
            Self::TrTckn => "tr-tckn",
            Self::SePersonnummer => "se-personnummer",
            Self::FiHetu => "fi-hetu",
            Self::NoFodselsnummer => "no-fodselsnummer",
            Self::DkCpr => "dk-cpr",
            Self::InAadhaar => "in-aadhaar",
            Self::CnResidentId => "cn-resident-id",
            Self::KrRrn => "kr-rrn",
            Self::SgNric => "sg-nric",
            Self::AuTfn => "au-tfn",
            Self::AuMedicare => "au-medicare",
            Self::ZaId => "za-id",
            Self::Phone => "phone",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Mac => "mac",
            Self::Date => "date",
            Self::HighEntropy => "high-entropy",
            Self::Jwt => "jwt",
            Self::TokenChecksum => "token-checksum",
            Self::PypiToken => "pypi-token",
        }
    }
}

impl fmt::Display for Validator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Validator {
    type Err = UnknownValidator;

    fn from_str(name: &str) -> Result<Self, UnknownValidator> {
        let found = Self::ALL.iter().find(|validator| validator.name() == name);
        found.copied().ok_or_else(|| UnknownValidator {
            name: name.to_owned(),
        })
    }
}

/// A rule named a validator that does not exist.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("no validator is called {name:?}; there are: {}", names())]
pub struct UnknownValidator {
    name: String,
}

fn names() -> String {
    Validator::ALL
        .iter()
        .map(|validator| validator.name())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_lead_back() {
        for &validator in Validator::ALL {
            assert_eq!(validator.name().parse(), Ok(validator));
        }
        let error = "luna"
            .parse::<Validator>()
            .map_err(|error| error.to_string());
        assert!(
            error.is_err_and(|text| text.contains("luna") && text.contains("luhn, card, iban"))
        );
    }

    proptest! {
        /// Hostile bytes never panic, and nothing is accepted that is empty or huge.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for validator in Validator::ALL {
                validator.check(&bytes);
            }
        }

        #[test]
        fn any_number_like_text(text in "[0-9A-Za-z+. ()-]{0,40}") {
            for validator in Validator::ALL {
                validator.check(text.as_bytes());
            }
        }
    }
}
